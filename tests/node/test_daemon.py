"""The running node: ready, drained, killed, and starts that fail."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from gpunode_engines.errors import EngineStartFailed
from gpunode_node.control_client import ask_daemon
from gpunode_node.errors import DaemonNotRunning, NodeFolderInUse, NodeMemoryFull, OtherNetwork, RegionUnknown
from gpunode_node.memory_watch import own_resident_bytes
from gpunode_protocol.adverts import open_advert, unpack_advert
from gpunode_protocol.mesh import MeshUnavailable
from gpunode_protocol.regions import Region

from tests.engines.fake_engine import FakeEngine
from tests.node.fake_tracker import network_info, running_tracker
from tests.node.memory_stream import stream_pair
from tests.node.running_daemon import FakeWorld, running_daemon, settings_of
from tests.node.world import CLIENT, NODE, OTHER, llm_params, request


async def test_ready_and_drained(tmp_path: Path) -> None:
    """run.json and socket while it is ready; tombstones, an offline heartbeat and exit 0 at its end."""
    fakes = FakeWorld()
    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker)
        async with running_daemon(settings, fakes) as running:
            run = json.loads((tmp_path / "n" / "run.json").read_text())
            assert run == {
                "pid": os.getpid(),
                "peer_id": NODE.peer_id,
                "addresses": [f"/ip4/127.0.0.1/tcp/4001/p2p/{NODE.peer_id}"],
                "models": ["smollm2-135m"],
                "region": "europe",
            }
            status = await asyncio.to_thread(ask_daemon, tmp_path / "n" / "control.sock", "status")
            assert (status["peer_id"], status["draining"]) == (NODE.peer_id, False)
            assert fakes.times_ready == 1
            (mesh,) = fakes.meshes
            assert not any(unpack_advert(record.value).body.tombstone for record in mesh.announced)
            assert len({record.key for record in mesh.announced}) == 6
            os.kill(os.getpid(), signal.SIGTERM)
            assert await running == 0
            assert all(unpack_advert(record.value).body.tombstone for record in mesh.announced[-6:])
            assert not mesh.running
        last = tracker.heartbeats[-1]
        assert last.status == "offline"
        assert open_advert(last.adverts[0]).body.tombstone
        assert not fakes.engines[0].healthy
        assert not (tmp_path / "n" / "run.json").exists()
        with pytest.raises(DaemonNotRunning):
            ask_daemon(tmp_path / "n" / "control.sock", "status")
        (registration,) = tracker.registrations
        assert (registration.name, registration.gpu_model, registration.gpu_memory_mb) == ("box", "GTX", 16_384)


async def test_a_second_signal(tmp_path: Path) -> None:
    """It ends at once, with a failure's exit code, and leaves no engine and no mesh behind."""
    fakes = FakeWorld()
    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker)
        async with running_daemon(settings, fakes) as running:
            serving = _start_job(fakes)
            await _first_output(fakes.engines[0])
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(0)
            assert await running == 1
            serving.cancel()
            assert not fakes.meshes[0].running
            assert not fakes.engines[0].healthy


def _start_job(fakes: FakeWorld) -> asyncio.Task[None]:
    """Send a job whose answer never comes to the node's stream handler."""
    from gpunode_protocol.messages import JOB_PROTOCOL, RequestFrame, encode_frame

    fakes.engines[0].hang()
    asked = request(model="smollm2-135m", params=llm_params(max_tokens=5))
    ours, theirs = stream_pair(CLIENT.peer_id, NODE.peer_id)
    theirs._incoming += encode_frame(RequestFrame(request=asked.envelope))
    ours.other = theirs

    async def serve() -> None:
        await fakes.meshes[0].handlers[JOB_PROTOCOL](theirs)

    return asyncio.create_task(serve())


async def _first_output(engine: FakeEngine) -> None:
    """Wait until the engine has the job."""
    generate, began = engine.generate, asyncio.Event()

    def noted(order: object) -> object:
        began.set()
        return generate(order)  # type: ignore[arg-type]  # -- passed on

    engine.generate = noted  # type: ignore[method-assign,assignment]  # -- the test listens
    async with asyncio.timeout(10):
        await began.wait()


async def test_one_daemon_a_folder(tmp_path: Path) -> None:
    """A second one is refused and leaves the first one's files alone."""
    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker)
        async with running_daemon(settings, FakeWorld()):
            with pytest.raises(NodeFolderInUse):
                async with running_daemon(settings, FakeWorld()):
                    pass
            assert (tmp_path / "n" / "run.json").exists()


async def test_a_tracker_that_is_down_at_the_second_start(tmp_path: Path) -> None:
    """Network, region and certificate of the first run are enough to serve; it says what is wrong."""
    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker)
        async with running_daemon(settings, FakeWorld()):
            pass
        tracker.down = True
        fakes = FakeWorld()
        async with running_daemon(settings, fakes):
            assert fakes.meshes[0].announced
            status = await asyncio.to_thread(ask_daemon, tmp_path / "n" / "control.sock", "status")
            assert "503" in status["tracker"]["problem"]
            assert status["region"] == "europe"


async def test_a_node_without_a_place(tmp_path: Path) -> None:
    """Where the tracker cannot tell the region, the owner must."""
    async with running_tracker() as tracker:
        tracker.region = None
        with pytest.raises(RegionUnknown, match="--region"):
            async with running_daemon(settings_of(tmp_path / "n", tracker), FakeWorld()):
                pass
        settings = settings_of(tmp_path / "n", tracker, region=Region.ASIA)
        async with running_daemon(settings, FakeWorld()):
            assert json.loads((tmp_path / "n" / "run.json").read_text())["region"] == "asia"


async def test_another_network(tmp_path: Path) -> None:
    """A tracker that changed its network is not followed."""
    from gpunode_protocol.keyset import KeySet, network_id_of
    from gpunode_protocol.signing import sign

    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker)
        async with running_daemon(settings, FakeWorld()):
            pass
        keys = KeySet(network=network_id_of(OTHER.public_key), sequence=1, issued_at=1, keys=())
        tracker.info = network_info(root_public_key=OTHER.public_key, keyset=sign(OTHER, keys).envelope)
        with pytest.raises(OtherNetwork, match="joined"):
            async with running_daemon(settings, FakeWorld()):
                pass


async def test_an_engine_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is raised, and nothing is left behind."""

    async def fail(_: FakeEngine) -> None:
        raise EngineStartFailed("no memory")

    monkeypatch.setattr(FakeEngine, "start", fail)
    fakes = FakeWorld()
    async with running_tracker() as tracker:
        with pytest.raises(EngineStartFailed, match="no memory"):
            async with running_daemon(settings_of(tmp_path / "n", tracker), fakes):
                pass
    assert fakes.meshes == []
    assert not (tmp_path / "n" / "run.json").exists()


async def test_a_signal_during_the_start(tmp_path: Path) -> None:
    """A node that is not ready yet ends in order as well."""
    fakes = FakeWorld()
    started = asyncio.Event()
    create = fakes.create_engine

    async def slow(entry: object) -> FakeEngine:
        started.set()
        await asyncio.Event().wait()
        return await create(entry)  # type: ignore[arg-type]  # -- never reached

    fakes.create_engine = slow  # type: ignore[method-assign]  # -- the test slows it down
    async with running_tracker() as tracker:
        from gpunode_node.daemon import NodeDaemon

        daemon = NodeDaemon(settings_of(tmp_path / "n", tracker), fakes.world())
        running = asyncio.create_task(daemon.run())
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
        assert fakes.meshes == []


async def test_a_part_that_breaks_ends_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon without its heartbeat or outbox would be a ghost."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("gpunode_node.settler.Settler.run", broken)
    fakes = FakeWorld()
    async with running_tracker() as tracker:
        with pytest.raises(ZeroDivisionError):
            async with running_daemon(settings_of(tmp_path / "n", tracker), fakes) as running:
                await running
    assert not fakes.meshes[0].running


async def test_a_mesh_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are stopped again."""

    async def fail(*_: object) -> None:
        raise MeshUnavailable

    monkeypatch.setattr("tests.node.fake_mesh.FakeMesh.start", fail)
    fakes = FakeWorld()
    async with running_tracker() as tracker:
        with pytest.raises(MeshUnavailable):
            async with running_daemon(settings_of(tmp_path / "n", tracker), fakes):
                pass
    assert not fakes.engines[0].healthy


async def test_memory_beyond_the_limit(tmp_path: Path) -> None:
    """The node drains in order, and ends with what it took and what to do."""
    fakes = FakeWorld(resident_bytes=own_resident_bytes)
    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker, memory_max_bytes=int(own_resident_bytes() / 1.2))
        with pytest.raises(NodeMemoryFull, match="GPUNODE_MEMORY_MAX_BYTES"):
            async with running_daemon(settings, fakes) as running:
                await running
        assert all(unpack_advert(record.value).body.tombstone for record in fakes.meshes[0].announced[-6:])
        assert tracker.heartbeats[-1].status == "offline"
        assert not fakes.meshes[0].running
        assert not fakes.engines[0].healthy


async def test_memory_that_grows_in_a_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain is cut short, although a job runs that would never end."""
    monkeypatch.setattr("gpunode_node.memory_watch.INTERVAL_S", 0.0)
    began = asyncio.Event()
    async with running_tracker() as tracker:
        settings = settings_of(tmp_path / "n", tracker)

        def resident_bytes() -> int:
            drains = bool(tracker.heartbeats) and tracker.heartbeats[-1].status == "offline"
            return settings.memory_max_bytes * (160 if drains else 110 if began.is_set() else 50) // 100

        fakes = FakeWorld(resident_bytes=resident_bytes)
        async with running_daemon(settings, fakes) as running:
            serving = _start_job(fakes)
            await _first_output(fakes.engines[0])
            began.set()
            with pytest.raises(NodeMemoryFull):
                await running
        serving.cancel()
        assert not fakes.engines[0].healthy
