"""What finished jobs tell of a node's speed, pure: claims are only believed until there is something better."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final, NamedTuple

from gpunode._reading import Reading, Sample, reading_of

MIN_LOAD_SPREAD: Final = 0.25
"""Jobs at loads that differ by less do not tell what load does to speed."""
MAX_SLOWDOWN: Final = 4.0
"""A wider fit is noise: 2.8 was measured for llama.cpp with 8 streams on two cores, 1.8 with 4."""
DEFAULT_SLOWDOWN: Final = 1.8
"""Full slots lengthen a job by this share: SmolLM2 by llama.cpp on two cores made 76 tokens/s alone and 32 beside three
others of its kind."""
MIN_OUTPUT_UNITS: Final = 16
"""Shorter outputs may arrive all at once and tell nothing of a speed."""


class Timing(NamedTuple):
    """A finished job, by the client's own clock.

    at: Unix seconds. load: other jobs there for each slot, when it began. prefill_ms: for input_units; decode_ms: for
    output_units. Units of 0: not measured.
    """

    at: float
    load: float
    input_units: int
    prefill_ms: float
    output_units: int
    decode_ms: float


@dataclass(frozen=True)
class Observed:
    """What this client knows of a node and model by its own measurement; None = nothing.

    rtt_ms: smallest of the last 10 minutes, else the last one. reading, output_units_per_s: alone on the
    node. slowdown: share by which full slots lengthen a job. failure_share: of the last jobs, 0 to 1.
    """

    rtt_ms: float | None = None
    reading: Reading | None = None
    output_units_per_s: float | None = None
    slowdown: float | None = None
    failure_share: float = 0.0


NOTHING_OBSERVED: Final = Observed()


def observed_of(timings: Sequence[Timing], outcomes: Sequence[bool], rtt_ms: float | None) -> Observed:
    """Return what the last jobs tell. outcomes: whether each one came to its end."""
    slowdown = _slowdown(timings)
    share = DEFAULT_SLOWDOWN if slowdown is None else slowdown
    return Observed(
        rtt_ms=rtt_ms,
        reading=reading_of([Sample(item.input_units, item.prefill_ms / (1 + share * item.load)) for item in timings]),
        output_units_per_s=_median_rate(_decoding(timings), share),
        slowdown=slowdown,
        # one success counts from the start: a first failure says little yet
        failure_share=outcomes.count(False) / (len(outcomes) + 1),
    )


def _decoding(timings: Iterable[Timing]) -> list[Timing]:
    return [item for item in timings if item.output_units >= MIN_OUTPUT_UNITS and item.decode_ms > 0]


def _median_rate(timings: Sequence[Timing], slowdown: float) -> float | None:
    rates = [1000 * item.output_units / item.decode_ms * (1 + slowdown * item.load) for item in timings]
    return median(rates) if rates else None


def _slowdown(timings: Iterable[Timing]) -> float | None:
    """Return the slope of time over load, as a share of the time alone; None where the loads were alike."""
    points = [(item.load, item.decode_ms / item.output_units) for item in _decoding(timings)]
    loads = [load for load, _ in points]
    if len(points) < 2 or max(loads) - min(loads) < MIN_LOAD_SPREAD:
        return None
    mean_load, mean_ms = fmean(loads), fmean(each_ms for _, each_ms in points)
    variance = sum((load - mean_load) ** 2 for load in loads)
    slope = sum((load - mean_load) * (each_ms - mean_ms) for load, each_ms in points) / variance
    alone_ms = mean_ms - slope * mean_load
    if alone_ms <= 0:
        return MAX_SLOWDOWN
    return min(MAX_SLOWDOWN, max(0.0, slope / alone_ms))
