"""``gpunode bench lab run WORLD``: whether the lab keeps the world's promises, measured between its hosts."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations, combinations_with_replacement
from typing import Final

from gpunode_protocol.regions import Region

from gpunode_benchmarks.lab.internet import LATE_S, Traffic
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.world import World
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import lag_summary, median, spread_summary

ROUNDS: Final = 10
"""Pings of each host to each other one."""
EXACT_MS: Final = 2.0
"""So far from the world's delay and jitter a round trip counts as exact."""

_PROBES: Final = "gpunode_benchmarks.lab.probes"
SENDING_S: Final = 4.0
"""Seconds that each TCP stream lasts."""
_PATIENCE_S: Final = 120.0

_RoundTrips = Mapping[tuple[str, str], Sequence[float]]


def measure_lab(lab: Lab) -> BenchResult:
    """Let all hosts ping each other, then send between the nearest two and the farthest two.

    Raises:
        LabFailed: a host's program failed.
    """
    load_before = load_average()
    with ExitStack() as stack:
        for host in lab.world.hosts:
            stack.enter_context(lab.begin(host, f"{_PROBES}:serve_echo"))
        counts = [lab.traffic()]
        found = _ping(lab, stack)
        counts.append(lab.traffic())
        speeds = list(_speed_measures(lab))
        counts.append(lab.traffic())
    return BenchResult(
        bench="lab",
        about="what packets between the hosts meet, beside what the world says",
        settings={
            "hosts": len(lab.world.hosts),
            "rounds": ROUNDS,
            "packets": counts[-1].delivered - counts[0].delivered,
            "lost": counts[-1].lost - counts[0].lost,
        },
        measures=(
            *_delay_measures(lab.world, found),
            _late_share("pinging", "while hosts ping each other", *counts[:2]),
            _late_share("sending", "while a TCP stream takes all it gets", *counts[1:]),
            *_region_measures(lab.world, found),
            *speeds,
        ),
        load_before=load_before,
        load_after=load_average(),
    )


def deviation_ms(world: World, first: str, second: str, measured_ms: float) -> float:
    """Return how far a round trip is from what the world allows: its delay, and up to its jitter more."""
    least_ms = world.round_trip_ms(first, second)
    most_ms = least_ms + 2_000 * world.one_way(first, second).jitter_s
    return max(least_ms - measured_ms, measured_ms - most_ms, 0.0)


def _ping(lab: Lab, stack: ExitStack) -> _RoundTrips:
    addresses = {host: lab.world.address_of(host) for host in lab.world.hosts}
    pinging = {
        host: stack.enter_context(
            lab.begin(
                host,
                f"{_PROBES}:udp_round_trips",
                targets={other: address for other, address in addresses.items() if other != host},
                rounds=ROUNDS,
            )
        )
        for host in addresses
    }
    return {
        (host, other): round_trips
        for host, program in pinging.items()
        for other, round_trips in program.value(_PATIENCE_S).items()
    }


def _delay_measures(world: World, found: _RoundTrips) -> Iterable[Measure]:
    deviations = [deviation_ms(world, *pair, measured) for pair, values in found.items() for measured in values]
    if deviations:
        yield Measure(
            name="deviation",
            about="a round trip's distance from the world's delay and jitter",
            unit="ms",
            count=len(deviations),
            values=lag_summary(deviations),
        )
        exact = sum(deviation <= EXACT_MS for deviation in deviations) / len(deviations)
        yield Measure(
            name="exact_share",
            about=f"share of round trips within {EXACT_MS:.0f} ms of it",
            unit="",
            count=len(deviations),
            values={"median": exact},
        )


def _late_share(name: str, about: str, before: Traffic, after: Traffic) -> Measure:
    """Return what the forwarder itself saw: programs on a busy machine are late to look at what has arrived in time."""
    delivered = after.delivered - before.delivered
    return Measure(
        name=f"late_share_{name}",
        about=f"share of packets delivered over {LATE_S * 1_000:.0f} ms late, {about}",
        unit="",
        count=delivered,
        values={"median": (after.late - before.late) / max(delivered, 1)},
    )


def _region_measures(world: World, found: _RoundTrips) -> Iterable[Measure]:
    present = [region for region in Region if world.hosts_in(region)]
    for first, second in combinations_with_replacement(present, 2):
        pairs = [pair for pair in found if {world.region_of(host) for host in pair} == {first, second}]
        values = [value for pair in pairs for value in found[pair]]
        if values:
            expected = median([world.round_trip_ms(*pair) for pair in pairs])
            yield Measure(
                name=f"rtt_{first}_{second}",
                about=f"{first} to {second}, in the world {expected:.3g}",
                unit="ms",
                count=len(values),
                values=spread_summary(values),
            )


def _speed_measures(lab: Lab) -> Iterable[Measure]:
    pairs = sorted(combinations(lab.world.hosts, 2), key=lambda pair: lab.world.round_trip_ms(*pair))
    named = {"nearest": pairs[0], "farthest": pairs[-1]} if pairs else {}
    for name, (first, second) in named.items():
        address = lab.world.address_of(second)
        megabits = lab.call(first, f"{_PROBES}:tcp_megabits", _PATIENCE_S, address=address, seconds=SENDING_S)
        round_trip_ms = lab.world.round_trip_ms(first, second)
        yield Measure(
            name=f"megabits_{name}",
            about=f"one TCP stream, {first} to {second}, {round_trip_ms:.3g} ms",
            unit="Mbit/s",
            count=1,
            values={"median": megabits},
        )
