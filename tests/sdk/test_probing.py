import asyncio
import itertools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from gpunode._measurements import Measurements
from gpunode._probe_answer import Probe
from gpunode._probing import FRESH_S, Prober
from gpunode._selection import Candidate
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh import MeshConfig
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_protocol.messages import PROBE_PROTOCOL
from gpunode_protocol.regions import Region

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryMesh, MemoryNetwork, MemoryStream
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import EPOCH, Keys

KEYS = Keys()


class _Field:
    """Nodes at chosen distances, in virtual time."""

    def __init__(self, folder: Path) -> None:
        self.network = MemoryNetwork()
        config = MeshConfig(identity_path=folder / "identity.key")
        mesh = MemoryMesh(self.network, config, AdvertValidator(KEYS.trust), lambda: EPOCH)
        mesh.is_running = True
        clock = asyncio.get_running_loop().time
        self.measurements = Measurements(folder / "measurements.json", clock=clock)
        self.prober = Prober(mesh, self.measurements, monotonic=clock)

    def add(self, number: int, rtt_s: float | None, *, later_s: float | None = None, **advert: Any) -> Candidate:
        """Add a node that answers after ``rtt_s`` seconds, or never; after ``later_s`` from the second time on."""
        identity = Identity.from_seed(bytes([number]) * 32)
        node = ScriptedNode(identity, KEYS.trust, active=number)

        async def serve(stream: MemoryStream) -> None:
            read, delays = stream.read, itertools.chain([rtt_s], itertools.repeat(later_s or rtt_s))

            async def late(max_bytes: int = 65536) -> bytes:
                data, delay_s = await read(max_bytes), next(delays)
                await asyncio.sleep(10_000 if delay_s is None else delay_s)
                return data

            stream.read = late  # type: ignore[method-assign]  # -- the way there takes its time
            await node.serve_probe(stream)

        self.network.handlers[node.peer_id, PROBE_PROTOCOL] = serve
        return Candidate(KEYS.advert(identity, **advert), "dht")


@virtual_time
async def test_round_trips_and_loads(tmp_path: Path) -> None:
    """What the node says of itself, and how long the answer took."""
    field = _Field(tmp_path)
    node = field.add(3, 0.04)
    probes = await field.prober.probe_all([node])
    assert round(probes[node.node].rtt_ms) == 40
    assert (probes[node.node].active, probes[node.node].slots) == (3, 4)


@virtual_time
async def test_stragglers_are_waited_for_as_long_as_they_are_worth_it(tmp_path: Path) -> None:
    """That is reckoned anew with each answer; they are heard out behind the caller's back."""
    field = _Field(tmp_path)
    near, middle, far, silent = field.add(1, 0.1), field.add(2, 0.15), field.add(3, 0.3), field.add(4, None)
    told: list[tuple[int, int, int]] = []

    def worth(probes: Mapping[PeerId, Probe], pending: Collection[Candidate], first_ms: float) -> float:
        told.append((len(probes), len(pending), round(first_ms)))
        return 200.0

    started_at = asyncio.get_running_loop().time()
    probes = await field.prober.probe_all([near, middle, far, silent], worth)
    assert set(probes) == {near.node, middle.node}
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(0.2)
    assert told[:2] == [(1, 3, 100), (2, 2, 100)]
    assert [field.prober.is_asking(item) for item in (near, far, silent)] == [False, True, True]
    await asyncio.sleep(0.15)
    assert set(field.prober.fresh([far, silent])) == {far.node}


@virtual_time
async def test_whoever_answers_within_ten_milliseconds_is_waited_for(tmp_path: Path) -> None:
    """However little it is worth: it is as near."""
    field = _Field(tmp_path)
    near, as_near, silent = field.add(1, 0.1), field.add(2, 0.105), field.add(3, None)
    assert set(await field.prober.probe_all([near, as_near, silent], lambda *_: 0.0)) == {near.node, as_near.node}


@virtual_time
async def test_a_node_that_is_being_asked_is_not_asked_again(tmp_path: Path) -> None:
    """Whoever comes meanwhile shares the answer."""
    field = _Field(tmp_path)
    node = field.add(1, 0.1)
    field.prober.begin([node])
    await asyncio.sleep(0.05)
    started_at = asyncio.get_running_loop().time()
    probes = await asyncio.gather(*(field.prober.probe_all([node]) for _ in range(2)))
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(0.05)
    assert [set(found) for found in probes] == [{node.node}, {node.node}]
    assert field.network.opened[node.node, PROBE_PROTOCOL] == 1


@virtual_time
async def test_a_new_nodes_first_answer_is_enough(tmp_path: Path) -> None:
    """The second exchange, without the set-up of a connection, goes on behind it and tells the round trip."""
    field = _Field(tmp_path)
    node = field.add(1, 0.2, later_s=0.1)
    probes = await field.prober.probe_all([node])
    assert probes[node.node].rtt_ms == pytest.approx(200)
    await asyncio.sleep(0.15)
    assert field.prober.fresh([node])[node.node].rtt_ms == pytest.approx(100)
    assert field.network.opened[node.node, PROBE_PROTOCOL] == 1


@virtual_time
async def test_closing_ends_what_goes_on_behind_the_callers_back(tmp_path: Path) -> None:
    """Nobody waits for a silent node then."""
    field = _Field(tmp_path)
    silent = field.add(1, None)
    field.prober.begin([silent])
    waiting = asyncio.create_task(field.prober.probe_all([silent]))
    await asyncio.sleep(0)
    await field.prober.close()
    assert await waiting == {}


@virtual_time
async def test_silence_ends_after_two_seconds(tmp_path: Path) -> None:
    """If nobody answers at all."""
    field = _Field(tmp_path)
    started_at = asyncio.get_running_loop().time()
    assert await field.prober.probe_all([field.add(1, None)]) == {}
    assert asyncio.get_running_loop().time() - started_at == 2
    assert await field.prober.probe_all([]) == {}


@virtual_time
async def test_the_smallest_round_trip_of_ten_minutes_counts(tmp_path: Path) -> None:
    """Queues only add; but after ten minutes a route may be another one."""
    field = _Field(tmp_path)
    quick, slow = field.add(1, 0.02), field.add(1, 0.2)
    assert quick.node == slow.node
    field.add(1, 0.02)
    await field.prober.probe_all([quick])
    field.add(1, 0.2)
    await asyncio.sleep(FRESH_S)
    assert round((await field.prober.probe_all([quick]))[quick.node].rtt_ms) == 20
    await asyncio.sleep(601)
    assert field.measurements.rtt_ms(quick.node) is None
    assert round((await field.prober.probe_all([quick]))[quick.node].rtt_ms) == 200


@virtual_time
async def test_a_node_that_cannot_be_reached_or_talks_nonsense_has_no_probe(tmp_path: Path) -> None:
    """Neither ends the probing of the others."""
    field = _Field(tmp_path)
    fine, garbled = field.add(1, 0.01), field.add(2, 0.01)

    async def nonsense(stream: MemoryStream) -> None:
        await stream.write(b"\x00\x00\x00\x01\xff")

    field.network.handlers[garbled.node, PROBE_PROTOCOL] = nonsense
    gone = Candidate(KEYS.advert(Identity.from_seed(b"\x09" * 32)), "dht")
    assert set(await field.prober.probe_all([fine, garbled, gone])) == {fine.node}


@virtual_time
async def test_an_answer_is_fresh_for_two_seconds(tmp_path: Path) -> None:
    """Until then the node is not asked again; jobs sent to it meanwhile count."""
    field = _Field(tmp_path)
    node = field.add(1, 0.01)
    await field.prober.probe_all([node])
    field.add(1, None)
    field.prober.job_sent(node)
    assert (await field.prober.probe_all([node]))[node.node].active == 2
    await asyncio.sleep(FRESH_S + 0.01)  # a new node's round trip was measured once more behind the answer
    assert await field.prober.probe_all([node]) == {}


@virtual_time
async def test_jobs_that_start_together_see_each_other(tmp_path: Path) -> None:
    """All ask before any has been sent, and still they spread over the nodes."""
    field = _Field(tmp_path)
    nodes = [field.add(1, 0.01), field.add(2, 0.01)]

    async def start() -> str:
        probes = await field.prober.probe_all(nodes)
        chosen = min(nodes, key=lambda node: probes[node.node].active)
        field.prober.job_sent(chosen)
        return chosen.node

    chosen = await asyncio.gather(*(start() for _ in range(8)))
    assert min(chosen.count(node.node) for node in nodes) >= 3


@virtual_time
async def test_refreshing_asks_each_node_once_and_only_if_its_answer_is_not_fresh(tmp_path: Path) -> None:
    """Whoever comes meanwhile does not ask the same node again; a silent one ends it after two seconds."""
    field = _Field(tmp_path)
    known, slow, silent = field.add(1, 0.01), field.add(2, 0.5), field.add(3, None)
    await field.prober.probe_all([known])
    opened = field.network.opened
    started_at = asyncio.get_running_loop().time()
    await asyncio.gather(*(field.prober.refresh([known, slow, silent]) for _ in range(3)))
    assert [opened[item.node, PROBE_PROTOCOL] for item in (known, slow, silent)] == [1, 1, 1]
    assert set(field.prober.fresh([slow, silent])) == {slow.node}
    assert asyncio.get_running_loop().time() - started_at == 2


@virtual_time
async def test_jobs_that_a_node_cannot_know_of_are_told_apart(tmp_path: Path) -> None:
    """Its own estimate of the wait covers the others only."""
    field = _Field(tmp_path)
    node = field.add(3, 0.01)
    await field.prober.probe_all([node])
    field.prober.job_sent(node)
    probe = field.prober.fresh([node])[node.node]
    assert (probe.active, probe.sent, probe.told_active) == (4, 1, 3)


@virtual_time
async def test_renewing_asks_although_the_answer_is_fresh(tmp_path: Path) -> None:
    """So that it never grows old."""
    field = _Field(tmp_path)
    node = field.add(1, 0.01)
    await field.prober.probe_all([node])
    await field.prober.renew([node])
    assert field.network.opened[node.node, PROBE_PROTOCOL] == 2


@virtual_time
async def test_a_job_that_is_over_counts_no_more(tmp_path: Path) -> None:
    """Neither one that the node could not know of, nor one that it told of."""
    field = _Field(tmp_path)
    node = field.add(3, 0.01)
    await field.prober.probe_all([node])
    field.prober.job_sent(node)  # its caller never came back
    field.prober.job_over(field.prober.job_sent(node))
    assert field.prober.fresh([node])[node.node].active == 4
    known = field.prober.job_sent(node)
    await asyncio.sleep(1)
    await field.prober.renew([node])
    field.prober.job_over(known)
    assert field.prober.fresh([node])[node.node].active == 2


@virtual_time
async def test_a_round_trip_counts_for_the_region_that_the_node_claims(tmp_path: Path) -> None:
    """Not through a relay: that measures the detour."""
    field = _Field(tmp_path)
    await field.prober.probe_all([field.add(3, 0.04, region=Region.EUROPE), field.add(4, 0.01, path="relayed")])
    assert {region: list(map(round, rtts)) for region, rtts in field.measurements.rtts_ms().items()} == {
        Region.EUROPE: [40]
    }
