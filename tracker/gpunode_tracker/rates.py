"""Rates, and what one says to a request: the generic cell rate algorithm, pure. All of a bucket is one instant.

A bucket holds ``burst`` requests and is filled up evenly; an empty table's buckets are full. What is kept of a bucket
is when it will be full again (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict

_ROUNDING_S: Final = 1e-6
"""Sums of seconds that are no binary fractions differ by less."""


class Rate(BaseModel):
    """How much may be asked for. per_minute: in the long run. burst: at once after a pause."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_minute: Annotated[int, Ge(1), Le(10_000_000)]
    burst: Annotated[int, Ge(1), Le(1_000_000)]

    @cached_property
    def interval_s(self) -> float:
        """Seconds until one more is allowed."""
        return 60 / self.per_minute

    @cached_property
    def window_s(self) -> int:
        """Seconds that fill an empty bucket, ≥ 1."""
        return max(1, math.ceil(self.burst * self.interval_s))


@dataclass(frozen=True)
class Decision:
    """What a bucket says.

    Args:
        allowed: whether the request may be served.
        remaining: how many more may come at once.
        retry_after_s: when it would be allowed, 0 if it is.
        full_after_s: when the bucket is full again.
    """

    allowed: bool
    remaining: int
    retry_after_s: float
    full_after_s: float


def decide(rate: Rate, full_at: float, now: float, cost: int) -> tuple[float, Decision]:
    """Take ``cost`` out of a bucket if that much is in it.

    Args:
        full_at: when the bucket will be full, in seconds of the clock of ``now``; in the past: it is.
        cost: 0 only looks whether one would be allowed; more than a full bucket holds counts as all of it.

    Returns:
        When the bucket will be full afterwards, and the decision.
    """
    start = max(full_at, now)
    after = start + min(cost, rate.burst) * rate.interval_s
    asked = after if cost else start + rate.interval_s
    missing_s = asked - (now + rate.burst * rate.interval_s)
    allowed = missing_s <= _ROUNDING_S
    kept = after if allowed else start
    remaining = math.floor(rate.burst - (kept - now - _ROUNDING_S) / rate.interval_s)
    return kept, Decision(allowed, max(0, min(rate.burst, remaining)), 0.0 if allowed else missing_s, kept - now)
