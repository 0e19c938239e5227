"""Round trips to the regions, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from gpunode_node.network_state import NetworkState
from gpunode_node.region_distances import INTERVAL_S, PROBES_REMEMBERED, RegionDistances, round_trip_ms
from gpunode_protocol.adverts import Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.dht_keys import parse_key
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh import FoundRecords, MeshStream, MeshUnavailable, PeerUnreachable
from gpunode_protocol.mesh.records import ValidRecord
from gpunode_protocol.messages import PROBE_PROTOCOL, ProbeReplyFrame, encode_frame
from gpunode_protocol.probe import ProbeServer
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import MAX_ROUND_TRIPS, RoundTrip

from tests.node.fake_mesh import FakeMesh
from tests.node.fake_tracker import certificate, network_info
from tests.node.memory_stream import MemoryStream, stream_pair
from tests.node.virtual_time import virtual_time
from tests.node.world import EPOCH, NETWORK, NODE


def _advert(node: Identity, region: Region, path: str, **place: int) -> Signed[Advert]:
    speed = Speed(input_milliunits_per_s=1, output_milliunits_per_s=1)
    return sign(
        node,
        Advert.model_validate(
            {
                "network": NETWORK,
                "peer": node.peer_id,
                "certificate": certificate(),
                "sequence": 1,
                "region": region,
                "gpu": Gpu(model="", count=0, memory_mb=0),
                "model": ModelAdvert(name="m", task=Task.LLM, fingerprint=bytes(32), speed=speed, context=1, slots=1),
                "path": path,
                "expires_at": EPOCH + 150,
                **place,
            }
        ),
    )


class _Regions(FakeMesh):
    """Nodes that answer probes after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Signed[Advert]] = []
        self.rtt_s: dict[PeerId, float] = {}
        self.looked_up: Counter[Region] = Counter()
        self.probed: Counter[PeerId] = Counter()
        self._serving: set[asyncio.Task[None]] = set()

    def add(self, number: int, region: Region, rtt_s: float, *, path: str = "direct", **place: int) -> PeerId:
        """Add a node of a region; ``place``: latitude and longitude that it states."""
        node = NODE if number == 0 else Identity.from_seed(bytes([number]) * 32)
        self.nodes.append(_advert(node, region, path, **place))
        self.rtt_s[node.peer_id] = rtt_s
        return node.peer_id

    async def find(self, key: object, *, deadline_s: float = 1.0) -> FoundRecords:
        """See ``Mesh``."""
        assert deadline_s > 0
        topic = parse_key(str(key))
        assert (topic.task, topic.network, topic.shard) == (None, NETWORK, "-")
        self.looked_up[topic.region] += 1
        records = [
            ValidRecord(peer_id=advert.body.peer, sequence=1, expires_at=EPOCH + 150, value=b"", content=advert)
            for advert in self.nodes
            if advert.body.region is topic.region
        ]
        return FoundRecords(key=str(key), records=tuple(records), replicas_answered=3, dropped={})

    async def open_stream(
        self, peer_id: PeerId, protocol: str, addresses: Sequence[str] = (), *, deadline_s: float = 1.0
    ) -> MeshStream:
        """See ``Mesh``."""
        assert (protocol, addresses, deadline_s) == (PROBE_PROTOCOL, (), 2.0)
        self.probed[peer_id] += 1
        ours, theirs = stream_pair(NODE.peer_id, peer_id)
        task = asyncio.create_task(self._answer(theirs, self.rtt_s[peer_id]))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return ours

    async def _answer(self, stream: MemoryStream, rtt_s: float) -> None:
        server, setting_up_s = ProbeServer(), 0.3
        while data := await stream.read():
            for probe in server.receive_data(data):
                await asyncio.sleep(rtt_s + setting_up_s)
                setting_up_s = 0.0
                reply = ProbeReplyFrame(nonce=probe.nonce, active=0, queued=0, slots=1, wait_ms=0, draining=False)
                await stream.write(encode_frame(reply))


def _distances(folder: Path, mesh: FakeMesh) -> RegionDistances:
    state = NetworkState(folder / "network.json")
    state.accept(network_info())
    return RegionDistances(mesh, state, Random(1))


@virtual_time
async def test_one_node_of_each_region_is_probed(tmp_path: Path) -> None:
    """Setting up the connection does not count; this node itself and relayed ones tell nothing of a region."""
    mesh = _Regions()
    mesh.add(0, Region.EUROPE, 0.001)
    mesh.add(5, Region.EUROPE, 0.012)
    mesh.add(6, Region.ASIA, 0.25)
    mesh.add(7, Region.AFRICA, 0.1, path="relayed")
    distances = _distances(tmp_path, mesh)
    assert distances.rtt_ms == {}
    await distances.measure()
    assert distances.rtt_ms == {"asia": 250, "europe": 12}
    assert mesh.looked_up == Counter(Region)
    assert sorted(mesh.probed.values()) == [1, 1]


@virtual_time
async def test_the_smallest_of_an_hour_counts(tmp_path: Path) -> None:
    """A queue on the way adds to a probe; after an hour the route has changed for good."""
    mesh = _Regions()
    peer = mesh.add(6, Region.ASIA, 0.2)
    distances = _distances(tmp_path, mesh)
    running = asyncio.create_task(distances.run())
    await asyncio.sleep(INTERVAL_S / 2)
    mesh.rtt_s[peer] = 0.3
    await asyncio.sleep(INTERVAL_S * (PROBES_REMEMBERED - 1))
    assert (mesh.probed[peer], distances.rtt_ms) == (PROBES_REMEMBERED, {"asia": 200})
    await asyncio.sleep(INTERVAL_S)
    assert distances.rtt_ms == {"asia": 300}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@virtual_time
async def test_round_trips_are_told_with_the_stated_places(tmp_path: Path) -> None:
    """Rounded up, because light cannot be outrun by rounding; the newest ones, as many as a heartbeat may carry."""
    mesh = _Regions()
    peer = mesh.add(6, Region.ASIA, 0.0101, latitude=36, longitude=140)
    distances = _distances(tmp_path, mesh)
    assert distances.round_trips == ()
    await distances.measure()
    assert distances.round_trips == (RoundTrip(peer=peer, rtt_ms=11, region=Region.ASIA, latitude=36, longitude=140),)
    mesh.rtt_s[peer] = 0.02
    for _ in range(MAX_ROUND_TRIPS):
        await distances.measure()
    assert [trip.rtt_ms for trip in distances.round_trips] in ([20] * MAX_ROUND_TRIPS, [21] * MAX_ROUND_TRIPS)


@virtual_time
async def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    """Neither a node that is silent nor a mesh that is being restarted; the streams are ended."""
    mesh = _Regions()
    peer = mesh.add(6, Region.ASIA, 0.2)
    distances = _distances(tmp_path, mesh)
    await distances.measure()
    mesh.rtt_s[peer] = 3.0
    await distances.measure()
    assert (mesh.probed[peer], distances.rtt_ms) == (2, {"asia": 200})

    async def restarting(key: object, *, deadline_s: float = 1.0) -> FoundRecords:
        raise MeshUnavailable(f"{key} {deadline_s}")

    mesh.find = restarting  # type: ignore[method-assign]  # -- the test breaks it
    await distances.measure()
    assert distances.rtt_ms == {"asia": 200}


@virtual_time
async def test_a_stream_that_ends_is_no_answer() -> None:
    """A cut stream looks like a finished one."""
    ours, theirs = stream_pair(NODE.peer_id, NODE.peer_id)
    await theirs.close()
    with pytest.raises(PeerUnreachable):
        await round_trip_ms(ours, asyncio.get_running_loop().time)
