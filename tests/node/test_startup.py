"""Starting the parts in order: see ``test_daemon`` for whole starts."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gpunode_engines.errors import ModelNotFound
from gpunode_node.node_folder import NodeFolder
from gpunode_node.node_parts import NodeParts
from gpunode_node.startup import Startup
from gpunode_protocol.adverts import open_advert
from gpunode_protocol.mesh import MeshConfig, PortInUse
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import SeenPlace

from tests.node.fake_tracker import FakeTracker, network_info, running_tracker
from tests.node.running_daemon import FakeWorld, settings_of


async def _start(
    folder: Path, tracker: FakeTracker, stack: AsyncExitStack, *, fakes: FakeWorld | None = None, **changes: object
) -> NodeParts:
    settings = settings_of(folder, tracker, **changes)
    taken = NodeFolder(settings.data_dir)
    taken.take()
    stack.callback(taken.give_back)
    return await Startup(settings, taken, (fakes or FakeWorld()).world(), stack).run()


async def test_the_mesh_is_told_what_the_tracker_and_the_owner_said(tmp_path: Path) -> None:
    """Bootstrap peers, addresses and QUIC; both protocols are served; nothing is announced yet."""
    async with running_tracker() as tracker, AsyncExitStack() as stack:
        tracker.info = network_info(bootstrap=("/ip4/11.0.0.1/tcp/4001/p2p/x",))
        parts = await _start(tmp_path / "n", tracker, stack, port=4_002, quic=False, announce_address=("/ip4/1.1.1.1",))
        mesh = parts.membership.mesh
        assert mesh.config.bootstrap == ("/ip4/11.0.0.1/tcp/4001/p2p/x",)  # type: ignore[attr-defined]  # -- the fake's
        assert mesh.config.listen_addresses[0] == "/ip4/127.0.0.1/tcp/4002"  # type: ignore[attr-defined]  # -- as above
        assert mesh.config.quic is False  # type: ignore[attr-defined]  # -- as above
        assert set(mesh.handlers) == {JOB_PROTOCOL, PROBE_PROTOCOL}  # type: ignore[attr-defined]  # -- as above
        assert mesh.announced == []  # type: ignore[attr-defined]  # -- as above


async def test_a_taken_port_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    """Not after minutes of fetching and loading; the tracker hears nothing of a node that cannot start."""
    asked: list[MeshConfig] = []

    def refuse(config: MeshConfig) -> None:
        asked.append(config)
        raise PortInUse("Port 4002 is in use by another program.")

    fakes = FakeWorld(check_ports=refuse)
    async with running_tracker() as tracker, AsyncExitStack() as stack:
        with pytest.raises(PortInUse):
            await _start(tmp_path / "n", tracker, stack, fakes=fakes, port=4_002)
        assert fakes.engines == []
        assert tracker.asked == []
    assert asked[0].listen_addresses[0] == "/ip4/127.0.0.1/tcp/4002"


async def test_adverts_say_where_the_node_is(tmp_path: Path) -> None:
    """As GeoIP told the tracker, unless the owner says otherwise; also when the tracker is down the next time."""
    seen = SeenPlace(region=Region.EUROPE, country="FR", latitude=49, longitude=2, accuracy_km=20)
    async with running_tracker() as tracker:
        tracker.seen = seen
        told = []
        for changes in ({}, {}, {"latitude": -33.9, "longitude": 151.2, "country": "AU", "region": "oceania"}):
            async with AsyncExitStack() as stack:
                parts = await _start(tmp_path / "n", tracker, stack, **changes)
                tracker.down = True
                await parts.announcer.announce_when_due()
                body = open_advert(parts.announcer.adverts[0]).body
                told.append((body.region, body.country, body.latitude, body.longitude))
        assert told == [("europe", "FR", 49, 2)] * 2 + [("oceania", "AU", -34, 151)]


async def test_jobs_get_the_owners_limits(tmp_path: Path) -> None:
    """Time and size."""
    async with running_tracker() as tracker, AsyncExitStack() as stack:
        parts = await _start(tmp_path / "n", tracker, stack, job_input_max_bytes=2_000_000, engine_time_limit_s=7.0)
        services = parts.intake._services
        assert (services.input_limit_bytes, services.job_time_limit_s) == (2_000_000, 7.0)


async def test_which_models(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those that the owner names, once each; else what fits, and the log says why."""
    async with running_tracker() as tracker:
        async with AsyncExitStack() as stack:
            parts = await _start(tmp_path / "n", tracker, stack, model=("smollm2", "smollm2-135m", "qwen2.5-7b"))
            assert [model.name for model in parts.models] == ["smollm2-135m", "qwen2.5-7b-instruct"]
        tracker.info = network_info(default_models={})
        async with AsyncExitStack() as stack:
            with caplog.at_level("INFO"):
                parts = await _start(tmp_path / "n", tracker, stack)
            assert [model.name for model in parts.models] == ["smollm2-135m"]
            assert "no model was named, so smollm2-135m is served: no default of the network is known" in caplog.text


async def test_an_unknown_model_is_refused_before_anything_else(tmp_path: Path) -> None:
    """Also while the tracker is down: no waiting, and nothing was asked of it."""
    async with running_tracker() as tracker, AsyncExitStack() as stack:
        tracker.down = True
        with pytest.raises(ModelNotFound, match="gpt-9"):
            await _start(tmp_path / "n", tracker, stack, model=("smollm2", "gpt-9"))
        assert tracker.asked == []


@pytest.mark.parametrize(("device", "count"), [("GTX", 2), ("cpu", 0)])
async def test_adverts_name_the_cards_that_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, device: str, count: int
) -> None:
    """Engines that run on the CPU beside a card are told of at the start, and no advert claims the card."""
    async with running_tracker() as tracker, AsyncExitStack() as stack:
        parts = await _start(tmp_path / "n", tracker, stack, fakes=FakeWorld(device=device))
        await parts.announcer.announce_when_due()
        (envelope,) = parts.announcer.adverts
        assert open_advert(envelope).body.gpu.count == count
        assert ("smollm2-135m runs on the CPU, although this machine has a GTX" in caplog.text) is (count == 0)
