"""How long a node takes to begin, by what this client has measured: something for every job, and more for long inputs.

A line through the last jobs; where they tell nothing of its slope, because their inputs were alike, the advert does.
Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final, NamedTuple

MAX_SAMPLES: Final = 8
"""The last jobs that count: each pair of them says something, and a choice among many nodes must take no time."""
TELLING_UNITS: Final = 256
"""Two inputs that differ by so much weigh as much as the advert does: it comes from one of that length."""
MAX_OVERHEAD_MS: Final = 100.0
"""Opening a stream, checking signatures and a queue's turn take no longer; what is beyond it was reading."""


class Sample(NamedTuple):
    """One job's input, > 0, and the ms from request to first output without the round trip."""

    units: int
    spent_ms: float


@dataclass(frozen=True)
class Reading:
    """What the last jobs at a node tell. Make it with ``reading_of``; slopes: ms a unit of each pair, with weights."""

    samples: tuple[Sample, ...]
    slopes: tuple[tuple[float, float], ...]

    def expected_ms(self, units: int, advertised_units_per_s: float) -> float:
        """Return how long an input of so many units is expected to take, >= 0; 0 units/s: nothing is advertised."""
        most = median(spent_ms / known for known, spent_ms in self.samples)
        least = median((spent_ms - MAX_OVERHEAD_MS) / known for known, spent_ms in self.samples)
        advertised = 1000 / advertised_units_per_s if advertised_units_per_s > 0 else most
        prior = max(advertised, least)
        slope = min(most, max(0.0, _weighted_median([*self.slopes, (prior, TELLING_UNITS)])))
        overhead_ms = median(spent_ms - slope * known for known, spent_ms in self.samples)
        return max(0.0, overhead_ms + slope * units)


def reading_of(samples: Sequence[Sample]) -> Reading | None:
    """Return what jobs tell, oldest first; None without one that has an input."""
    last = tuple(sample for sample in samples if sample.units > 0 and sample.spent_ms > 0)[-MAX_SAMPLES:]
    if not last:
        return None
    pairs = ((one, other) for one, other in combinations(last, 2) if one.units != other.units)
    slopes = (
        ((one.spent_ms - other.spent_ms) / (one.units - other.units), float(abs(one.units - other.units)))
        for one, other in pairs
    )
    return Reading(last, tuple(slopes))


def _weighted_median(weighted: Iterable[tuple[float, float]]) -> float:
    """Return the value below and above which at most half of the weight lies."""
    ordered = sorted(weighted)
    half = sum(weight for _, weight in ordered) / 2
    passed = 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= half:
            return value
    return ordered[-1][0]
