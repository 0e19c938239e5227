"""``gpunode bench flood``: what honest streams keep of their rate while one peer floods the node with idle streams.

Tracker, node and attacker are real processes on loopback, and the honest clients have a p2pd each. The attacker and its
p2pd have the lowest priority (or that asked for), but share the cores with everybody else. The engine is *paced*: it
computes nothing and puts a token out at fixed times, so that only what carries the tokens limits the honest rate.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.flood_honest import CLIENTS, MODEL, STREAMS_PER_CLIENT, TOKEN_INTERVAL_MS
from gpunode_benchmarks.flood_memory import growth_mb
from gpunode_benchmarks.flood_rates import rate_per_s, rates_kept, recovery_s, within
from gpunode_benchmarks.flood_scene import Durations, FloodRun, attacker_of, flood
from gpunode_benchmarks.overhead_network import overhead_network
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import lag_summary

IDLE_STREAMS: Final = 5_000
LOWEST_PRIORITY: Final = 19
_ATTACKED: Final = ("opening", "held", "after")
_FATES: Final = {
    "opened": "streams that the attacker opened",
    "not_opened": "streams that could not be opened",
    "open": "streams open at the end of the flood",
    "ended_with_reason": "streams that the node ended with a reason",
    "ended_silently": "streams that were cut",
}


def run_flood_bench(attacker_nice: int = LOWEST_PRIORITY) -> BenchResult:
    """Start tracker, node, honest clients and attacker on loopback, flood, end them.

    Args:
        attacker_nice: 0 to 19; the lower, the more of the processor the attacker takes from everybody else.

    Raises:
        BenchmarkFailed: a process ended, or no token came.
        GpunodeError: the network did not come up.
    """
    load_before = load_average()
    with overhead_network((MODEL,)) as network, attacker_of(network, attacker_nice) as attacker:
        run = asyncio.run(flood(network, attacker, IDLE_STREAMS, Durations()))
    return BenchResult(
        bench="flood",
        about="a paced engine's streams while one peer floods the node with idle streams",
        settings={
            "streams": IDLE_STREAMS,
            "honest_streams": CLIENTS * STREAMS_PER_CLIENT,
            "honest_clients": CLIENTS,
            "paced_token_interval_ms": TOKEN_INTERVAL_MS,
            "attacker_nice": attacker_nice,
        },
        measures=tuple(measures_of(run)),
        load_before=load_before,
        load_after=load_average(),
    )


def measures_of(run: FloodRun) -> Iterator[Measure]:
    """Return the figures of one flood.

    Raises:
        BenchmarkFailed: no token came before the flood.
    """
    arrivals, before = run.honest.arrivals, run.spans["before"]
    usual_per_s = rate_per_s(arrivals, before)
    if not usual_per_s:
        raise BenchmarkFailed("No honest token came before the flood: this machine is too busy. Run it again.")
    yield _one("rate_before", "honest streams together, before", "tokens/s", usual_per_s)
    for name, kept in rates_kept(arrivals, before, {name: run.spans[name] for name in _ATTACKED}).items():
        yield _one(f"rate_kept_{name}", f"rate kept: {name}", "ratio", kept)
    recovered = recovery_s(arrivals, usual_per_s, run.spans["after"])
    yield _one(
        "recovery", "until a second has 95 % of the rate again", "s", float("inf") if recovered is None else recovered
    )
    for name, span in run.spans.items():
        lags = [arrival.lag_ms for arrival in within(arrivals, span)]
        if lags:
            yield Measure(
                name=f"lag_{name}", about=f"lag: {name}", unit="ms", count=len(lags), values=lag_summary(lags)
            )
    for name, grown in growth_mb(run.memory, run.spans["opening"].begin_s).items():
        yield _one(f"memory_growth_{name}", f"memory growth, highest: {name}", "MB", grown)
    yield _one("opening_time", "time that opening took", "s", run.spans["opening"].length_s)
    for name, about in _FATES.items():
        yield _one(f"streams_{name}", about, "streams", run.attacker[name])
    yield _one("honest_broken", "honest streams that broke", "streams", run.honest.broken)
    yield _one("p2pd_restarts", "restarts of the node's p2pd", "times", run.restarts)


def _one(name: str, about: str, unit: str, value: float) -> Measure:
    return Measure(name=name, about=about, unit=unit, count=1, values={"median": value})
