"""Medians, percentiles and ratios of pairs. Pure."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile, linear between neighbours: Hyndman and Fan's definition 7, which NumPy uses too.

    Args:
        values: at least one, in any order.
        percent: 0 (smallest) to 100 (largest).

    Raises:
        ValueError: no values, or percent out of range.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"No percentile {percent} of {len(values)} values.")
    ordered = sorted(values)
    position = Fraction(percent) * (len(ordered) - 1) / 100
    below, above = math.floor(position), math.ceil(position)
    return ordered[below] + (ordered[above] - ordered[below]) * float(position - below)


def median(values: Sequence[float]) -> float:
    """Return the median. Raises ValueError when there are no values."""
    return percentile(values, 50)


def pair_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, ...]:
    """Return numerator / denominator of each pair: two runs made one after the other under the same load.

    Raises:
        ValueError: the lists differ in length, or a denominator is not above 0.
    """
    if any(denominator <= 0 for denominator in denominators):
        raise ValueError("A ratio needs a denominator above 0.")
    return tuple(top / bottom for top, bottom in zip(numerators, denominators, strict=True))


def latency_summary(values: Sequence[float]) -> Mapping[str, float]:
    """Return what is reported of durations: median and 95th percentile."""
    return {"median": median(values), "p95": percentile(values, 95)}


def lag_summary(values: Sequence[float]) -> Mapping[str, float]:
    """Return what is reported of many short durations: median and 99th percentile."""
    return {"median": median(values), "p99": percentile(values, 99)}


def spread_summary(values: Sequence[float]) -> Mapping[str, float]:
    """Return what is reported of few values: the median, and the quartiles, between which the middle half lies."""
    return {"median": median(values), "p25": percentile(values, 25), "p75": percentile(values, 75)}
