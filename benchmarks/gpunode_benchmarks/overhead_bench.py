"""``gpunode bench overhead``: what SDK, mesh and node add to an engine, all on loopback.

One engine's child is called by the process that owns it (*direct*), and through a client, a p2pd on each side and the
node (*network*), in turn: a pair has one run of each, and every second pair has them the other way round. ``ratio`` is
network / direct of one pair, ``a_a`` one direct run / the one before it: what the ratio would show if the network cost
nothing. Lags and bytes are those of a paced engine, which computes nothing.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import uvloop

from gpunode_benchmarks.overhead_engines import MODEL
from gpunode_benchmarks.overhead_network import OverheadNetwork, overhead_network
from gpunode_benchmarks.overhead_paced import MODEL as PACED_MODEL
from gpunode_benchmarks.overhead_paced import STREAMS, TOKEN_INTERVAL_MS, Paced, measure_paced
from gpunode_benchmarks.overhead_sides import Outcome, Side, Sides
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import lag_summary, latency_summary, pair_ratios, spread_summary

MIN_PAIRS = 10
TTFT_PAIRS = 12
STREAM_COUNTS = (1, 8)

BUDGET_S = 47
"""Seconds for everything, start included, if no more are given. A slow machine makes shorter runs, not fewer pairs;
where the shortest take longer than this, they do."""
_PACED_S = 8.5
"""Of these, for the paced engine, whose tokens come at fixed times."""
_TTFT_S = 3.0
"""For all runs to a first token; as many pairs fit, from ``MIN_PAIRS`` to ``TTFT_PAIRS``."""
_PHASE_S = {1: 9.0, 8: 21.5}
"""At most, for all runs of a number of streams, and more by as much as there is beyond ``BUDGET_S``; the number of
output tokens follows from it."""
_FEWEST_TOKENS, _MOST_TOKENS = 2, 64
_SHORT_RUN_TOKENS, _LONG_RUN_TOKENS = 2, 8
_SETTLE_S = 0.03
"""Pause after each run: the voucher of the job before is handed over and on its way to the tracker by then."""
_FIRST_PROMPT = 1_000
_MS_PER_S = 1_000


@dataclass(slots=True)
class _Pairs:
    """Outcomes of both sides, one each a pair."""

    direct: list[Outcome] = field(default_factory=list)
    network: list[Outcome] = field(default_factory=list)

    def add(self, side: Side, outcome: Outcome) -> None:
        (self.direct if side is Side.DIRECT else self.network).append(outcome)


@dataclass(frozen=True, slots=True)
class _Throughput:
    """output_tokens: of each stream."""

    streams: int
    output_tokens: int
    pairs: _Pairs

    def speeds(self, outcomes: list[Outcome]) -> list[float]:
        """Return the tokens/s of each run."""
        return [self.streams * self.output_tokens / outcome.elapsed_s for outcome in outcomes]


@dataclass(frozen=True, slots=True)
class _Results:
    ttft: _Pairs
    throughputs: tuple[_Throughput, ...]
    paced: Paced


def run_overhead_bench(pairs: int = MIN_PAIRS, seconds: int = BUDGET_S) -> BenchResult:
    """Start tracker, node and clients on loopback, measure, end them.

    Args:
        pairs: per number of streams, >= 1; even numbers favour no side.
        seconds: for everything; answers are as long as fits.

    Raises:
        BenchmarkFailed: a job was cut, or a process ended.
        GpunodeError: the model is not here, or the network did not come up.
    """
    load_before, began_at = load_average(), time.monotonic()
    with overhead_network((MODEL, PACED_MODEL)) as network:
        results = uvloop.run(_measure(network, pairs, ends_at=began_at + seconds - _PACED_S, more_s=seconds - BUDGET_S))
    return BenchResult(
        bench="overhead",
        about="SDK, mesh and node on loopback beside the engine's child called directly, on the CPU",
        settings={
            "model": MODEL,
            "engine_threads": 1,
            "engine_slots": max(STREAM_COUNTS),
            "pairs": pairs,
            "ttft_pairs": len(results.ttft.direct),
            **{f"output_tokens_streams_{item.streams}": item.output_tokens for item in results.throughputs},
            "paced_token_interval_ms": TOKEN_INTERVAL_MS,
            "seconds": round(time.monotonic() - began_at),
        },
        measures=tuple(_measures(results)),
        load_before=load_before,
        load_after=load_average(),
    )


async def _measure(network: OverheadNetwork, pairs: int, *, ends_at: float, more_s: float = 0.0) -> _Results:
    """Measure; ends_at: monotonic seconds at which the paced engine's turn should come. more_s: for all phases."""
    phases_s = sum(_PHASE_S.values())
    phase_s = {streams: at_most_s * (1 + more_s / phases_s) for streams, at_most_s in _PHASE_S.items()}
    numbers = itertools.count(_FIRST_PROMPT)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(network.client(MODEL, "first"))
        calls = await stack.enter_async_context(network.direct_line())
        sides = Sides(client, calls, MODEL)
        warm, ttft = _Pairs(), _Pairs()
        for _ in range(2):
            await _run_pairs(sides, numbers, warm, streams=1, output_tokens=_SHORT_RUN_TOKENS, pairs=1)
        pair_s = warm.direct[-1].ttft_s[0] + warm.network[-1].ttft_s[0] + 2 * _SETTLE_S
        ttft_pairs = min(TTFT_PAIRS, max(MIN_PAIRS, int(_TTFT_S / pair_s)))
        await _run_pairs(sides, numbers, ttft, streams=1, output_tokens=1, pairs=ttft_pairs)
        throughputs = [
            await _throughput(sides, numbers, streams, pairs, phase_s=_share_s(phase_s, streams, ends_at))
            for streams in STREAM_COUNTS
        ]
        paced = await measure_paced(network, client)
    return _Results(ttft, tuple(throughputs), paced)


def _share_s(phase_s: Mapping[int, float], streams: int, ends_at: float) -> float:
    """Return the seconds for a number of streams: at most its own, or its share of what is left for it and the rest."""
    share = phase_s[streams] / sum(phase_s[count] for count in STREAM_COUNTS if count >= streams)
    return min(phase_s[streams], (ends_at - time.monotonic()) * share)


async def _throughput(sides: Sides, numbers: Iterator[int], streams: int, pairs: int, *, phase_s: float) -> _Throughput:
    output_tokens = await _affordable_tokens(sides, numbers, streams, phase_s=phase_s)
    outcomes = _Pairs()
    await _run_pairs(sides, numbers, outcomes, streams=streams, output_tokens=output_tokens, pairs=pairs)
    return _Throughput(streams, output_tokens, outcomes)


async def _affordable_tokens(sides: Sides, numbers: Iterator[int], streams: int, *, phase_s: float) -> int:
    """Return how many output tokens each stream can have within the time for these runs; warms up meanwhile."""
    run_s = phase_s / (2 * MIN_PAIRS) - _SETTLE_S
    await sides.run(Side.NETWORK, _prompts(numbers, streams), _SHORT_RUN_TOKENS)
    short_s = (await sides.run(Side.DIRECT, _prompts(numbers, streams), _SHORT_RUN_TOKENS)).elapsed_s
    if short_s > run_s:
        return _FEWEST_TOKENS
    long_s = (await sides.run(Side.DIRECT, _prompts(numbers, streams), _LONG_RUN_TOKENS)).elapsed_s
    step_s = max(1e-3, (long_s - short_s) / (_LONG_RUN_TOKENS - _SHORT_RUN_TOKENS))
    prefill_s = short_s - _SHORT_RUN_TOKENS * step_s
    return min(_MOST_TOKENS, max(_FEWEST_TOKENS, int((run_s - prefill_s) / step_s)))


async def _run_pairs(
    sides: Sides, numbers: Iterator[int], outcomes: _Pairs, *, streams: int, output_tokens: int, pairs: int
) -> None:
    for number in range(pairs):
        order = (Side.DIRECT, Side.NETWORK) if number % 2 == 0 else (Side.NETWORK, Side.DIRECT)
        for side in order:
            outcomes.add(side, await sides.run(side, _prompts(numbers, streams), output_tokens))
            await asyncio.sleep(_SETTLE_S)


def _prompts(numbers: Iterator[int], count: int) -> list[str]:
    """Return prompts that were not used before, all of one length: numbers have a token for each digit."""
    return [str(number) for number in itertools.islice(numbers, count)]


def _measures(results: _Results) -> Iterator[Measure]:
    ttfts = {
        side: [outcome.ttft_s[0] * _MS_PER_S for outcome in outcomes]
        for side, outcomes in ((Side.DIRECT, results.ttft.direct), (Side.NETWORK, results.ttft.network))
    }
    added = [through - alone for through, alone in zip(ttfts[Side.NETWORK], ttfts[Side.DIRECT], strict=True)]
    for name, about, values in (
        ("ttft_direct", "first token, direct", ttfts[Side.DIRECT]),
        ("ttft_network", "first token, network", ttfts[Side.NETWORK]),
        ("ttft_added", "first token, added", added),
    ):
        yield Measure(name=name, about=about, unit="ms", count=len(values), values=latency_summary(values))
    for item in results.throughputs:
        yield from _throughput_measures(item)
    paced = results.paced
    yield Measure(
        name=f"lag_streams_{STREAMS}",
        about=f"paced engine, {STREAMS} streams: a token's way from engine to caller",
        unit="ms",
        count=len(paced.lags_ms),
        values=lag_summary(paced.lags_ms),
    )
    yield Measure(
        name="bytes_per_token",
        about="paced engine, 1 stream: on the wire for a token of 6 bytes, without probes",
        unit="bytes",
        count=paced.counted_tokens,
        values={"median": paced.wire_bytes / paced.counted_tokens},
    )


def _throughput_measures(item: _Throughput) -> Iterator[Measure]:
    words = "1 stream" if item.streams == 1 else f"{item.streams} streams"
    direct, network = item.speeds(item.pairs.direct), item.speeds(item.pairs.network)
    for name, about, unit, values in (
        ("direct", "direct", "tokens/s", direct),
        ("network", "network", "tokens/s", network),
        ("ratio", "network / direct", "ratio", pair_ratios(network, direct)),
        ("a_a", "direct / direct (a_a)", "ratio", pair_ratios(direct[1:], direct[:-1])),
    ):
        yield Measure(
            name=f"{name}_streams_{item.streams}",
            about=f"{words}: {about}",
            unit=unit,
            count=len(values),
            values=spread_summary(values),
        )
