"""Rates, and what one says to a request: the generic cell rate algorithm, pure. All of a bucket is one instant.

A bucket holds ``burst`` requests and is filled up evenly; an empty table's buckets are full. What is kept of a bucket
is when it will be full again (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
"""

import dataclasses
import math
from functools import cached_property
from typing import Annotated, Final

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_ROUNDING_S: Final = 1e-6
"""Sums of seconds that are no binary fractions differ by less."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Rate:
    """How much may be asked for. per_minute: in the long run. burst: at once after a pause.

    No model, because whatever is asked of one goes through Python code, and every request asks a dozen times.
    """

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

    @cached_property
    def policy(self) -> str:
        """The rate as the value of a ``RateLimit-Policy``, without its name."""
        return f"q={self.burst};w={self.window_s}"


@dataclasses.dataclass(slots=True)
class Decision:
    """What a bucket says. Never changed, but not frozen: every request makes several, and that would cost them more.

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
    interval_s, burst = rate.interval_s, rate.burst
    start = full_at if full_at > now else now
    after = start + (cost if cost < burst else burst) * interval_s
    asked = after if cost else start + interval_s
    missing_s = asked - (now + burst * interval_s)
    allowed = missing_s <= _ROUNDING_S
    kept = after if allowed else start
    remaining = int(burst - (kept - now - _ROUNDING_S) / interval_s)
    remaining = 0 if remaining < 0 else remaining if remaining < burst else burst  # as min() does, sooner
    return kept, Decision(allowed, remaining, 0.0 if allowed else missing_s, kept - now)
