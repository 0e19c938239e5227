"""Rates of honest streams before, during and after a flood, and how long they took to recover. Pure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

RECOVERED_SHARE: Final = 0.95
RECOVERY_WINDOW_S: Final = 1.0
_RECOVERY_STEP_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Span:
    """From ``begin_s`` (included) to ``end_s`` (not), of a monotonic clock."""

    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Seconds."""
        return self.end_s - self.begin_s


@dataclass(frozen=True, slots=True)
class Arrival:
    """A token: when it came, monotonic seconds, and milliseconds since the engine had put it out."""

    at_s: float
    lag_ms: float


def within(arrivals: Sequence[Arrival], span: Span) -> Sequence[Arrival]:
    """Return the tokens of a span; ``arrivals``: oldest first."""
    begin = bisect_left(arrivals, span.begin_s, key=lambda arrival: arrival.at_s)
    end = bisect_left(arrivals, span.end_s, key=lambda arrival: arrival.at_s)
    return arrivals[begin:end]


def rate_per_s(arrivals: Sequence[Arrival], span: Span) -> float:
    """Return the tokens/s in a span longer than 0 s; ``arrivals``: oldest first."""
    return len(within(arrivals, span)) / span.length_s


def rates_kept(arrivals: Sequence[Arrival], before: Span, phases: Mapping[str, Span]) -> dict[str, float]:
    """Return each phase's rate as a share of the rate before.

    Raises:
        ValueError: no token came before.
    """
    usual_per_s = rate_per_s(arrivals, before)
    if not usual_per_s:
        raise ValueError("No token came before the flood, so no rate can be kept.")
    return {name: rate_per_s(arrivals, span) / usual_per_s for name, span in phases.items()}


def recovery_s(arrivals: Sequence[Arrival], usual_per_s: float, after: Span) -> float | None:
    """Return the seconds from the span's begin to the first second that has at least 95 % of the usual rate.

    0 when the very first has; None when none within the span has.
    """
    number = 0
    while (begin_s := after.begin_s + number * _RECOVERY_STEP_S) + RECOVERY_WINDOW_S <= after.end_s:
        if rate_per_s(arrivals, Span(begin_s, begin_s + RECOVERY_WINDOW_S)) >= RECOVERED_SHARE * usual_per_s:
            return begin_s - after.begin_s
        number += 1
    return None
