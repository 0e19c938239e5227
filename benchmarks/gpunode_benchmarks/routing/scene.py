"""The routing bench's world: seven homes of different speeds on three continents, and a client on each of these."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from random import Random
from typing import Any, Final

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_network import PRELOAD, LabNetwork
from gpunode_benchmarks.lab.program import Program
from gpunode_benchmarks.lab.world import World, find_world, load_world
from gpunode_benchmarks.overhead_engines import Pace
from gpunode_benchmarks.routing.detour import Detour
from gpunode_benchmarks.routing.jobs import WantedJob, draw_crowd, draw_jobs, share
from gpunode_benchmarks.routing.truth import DoneJob, Truth

WORLD: Final = "clouds"
MODEL: Final = "paced-home"
TRACKER: Final = "mumbai-1"
CLIENTS: Final = ("seoul-1", "stockholm-1", "montreal-1")
PACES: Final[Mapping[str, Pace]] = {
    "tokyo-1": Pace(interval_ms=14, prefill_ms=0.40, slots=1),
    "singapore-1": Pace(interval_ms=10, prefill_ms=0.30, slots=1),
    "frankfurt-1": Pace(interval_ms=15, prefill_ms=0.50, slots=1),
    "milan-1": Pace(interval_ms=11, prefill_ms=0.30, slots=1),
    "london-1": Pace(interval_ms=13, prefill_ms=0.35, slots=1),
    "virginia-1": Pace(interval_ms=16, prefill_ms=0.45, slots=1),
    "oregon-1": Pace(interval_ms=12, prefill_ms=0.25, slots=1),
}
"""Assumed: between 62 and 100 tokens a second, as home cards give of a model with 7 billion parameters."""
CROWD: Final = 10
"""Jobs at once at the node that is nearest to a client, in the second phase; it can do one."""

DETOURS: Final = 3
"""Of each client in another region than the tracker: straight to a node, and through the tracker."""

_CALLS: Final = "gpunode_benchmarks.routing.client"
_SIGNAL_TIMEOUT_S: Final = 120.0
_JOB_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.05


def run_scene(jobs: int, random: Random) -> Truth:
    """Let the clients do half of the jobs while nothing else happens, the others while their nearest nodes are crowded.

    Raises:
        LabUnavailable: there can be no lab here. LabFailed: a program in it failed.
        BenchmarkFailed: something took far too long.
    """
    world = load_world(find_world(WORLD))
    with Lab.start(WORLD, world, preload=(*PRELOAD, _CALLS)) as lab, LabNetwork(lab, TRACKER) as network:
        network.start_nodes(list(PACES), MODEL, paces=PACES)
        done, detours = _ask(network, jobs, random)
    rtt_ms = {(client, node): world.round_trip_ms(client, node) for client in CLIENTS for node in PACES}
    return Truth(rtt_ms, PACES, done, detours)


def nearest(rtt_ms: Mapping[str, float]) -> str:
    """Return the nearest node."""
    return min(rtt_ms, key=lambda node: rtt_ms[node])


def detours_of(world: World, client: str) -> int:
    """Return how many detours a client takes: none in the tracker's own region, where it is hardly one."""
    return 0 if world.region_of(client) is world.region_of(TRACKER) else DETOURS


def _ask(network: LabNetwork, jobs: int, random: Random) -> tuple[list[DoneJob], list[Detour]]:
    lab = network.lab
    shares = [share(jobs - jobs // 2, CLIENTS), share(jobs // 2, CLIENTS)]
    with contextlib.ExitStack() as stack:
        asking = {}
        for client in CLIENTS:
            phases = [_plain(draw_jobs(counts[client], random)) for counts in shares]
            asking[client] = stack.enter_context(
                lab.begin(
                    client,
                    f"{_CALLS}:ask",
                    client=network.client_of(client),
                    model=MODEL,
                    nodes=len(PACES),
                    detours=detours_of(lab.world, client),
                    phases=phases,
                    signals=_signals(lab, client),
                )
            )
        _start_phase(lab, asking, 0)
        _wait_for(lab, asking, "ready-1")
        crowds = {client: stack.enter_context(_crowd(network, client, random)) for client in CLIENTS}
        _wait_for(lab, crowds, "crowded")
        _start_phase(lab, asking, 1)
        told = {client: program.value(_SIGNAL_TIMEOUT_S + _JOB_TIMEOUT_S * jobs) for client, program in asking.items()}
        records = {client: values["jobs"] for client, values in told.items()}
        for client in CLIENTS:
            _signal(lab, client, "stop")
        for client, program in crowds.items():
            records[client] += program.value(_SIGNAL_TIMEOUT_S)
    detours = [Detour(**fields) for values in told.values() for fields in values["detours"]]
    return list(_done(network, records)), detours


def _crowd(network: LabNetwork, client: str, random: Random) -> Program:
    world = network.lab.world
    node = nearest({host: world.round_trip_ms(client, host) for host in PACES})
    arguments = network.client_of(client)
    return network.lab.begin(
        client,
        f"{_CALLS}:crowd",
        client=arguments | {"state_dir": f"{arguments['state_dir']}w"},
        model=MODEL,
        node=network.nodes[node].run["peer_id"],
        at_once=CROWD,
        jobs=_plain(draw_crowd(CROWD, random)),
        signals=_signals(network.lab, client),
    )


def _done(network: LabNetwork, records: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[DoneJob]:
    hosts = {node.run["peer_id"]: host for host, node in network.nodes.items()}
    for client, told in records.items():
        for record in told:
            yield DoneJob(host=client, **(record | {"node": hosts[record["node"]]}))


def _plain(jobs: Sequence[WantedJob]) -> list[list[float]]:
    return [list(astuple(job)) for job in jobs]


def _signals(lab: Lab, client: str) -> str:
    return str(lab.folder_of(client) / "signal-")


def _signal(lab: Lab, client: str, name: str) -> None:
    Path(f"{_signals(lab, client)}{name}").touch()


def _start_phase(lab: Lab, asking: Mapping[str, Program], number: int) -> None:
    _wait_for(lab, asking, f"ready-{number}")
    for client in asking:
        _signal(lab, client, f"go-{number}")


def _wait_for(lab: Lab, programs: Mapping[str, Program], name: str) -> None:
    """Wait until every program has made its file of this name."""
    deadline = time.monotonic() + _SIGNAL_TIMEOUT_S
    for client, program in programs.items():
        while not Path(f"{_signals(lab, client)}{name}").exists():
            if program.exit_code is not None:
                program.value()
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"The client in {client} took too long. Close other programs and run it again.")
            time.sleep(_POLL_S)
