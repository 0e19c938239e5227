"""Waiting between attempts, pure: how long, and when to give up."""

from random import Random
from typing import Final

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 2.0
PATIENCE_S: Final = 30.0
"""A call waits this long in all; who is told to come back later than that is told so at once."""
_JITTER_SHARE: Final = 0.5
_MAX_DIGITS: Final = 9


def delay_s(attempt: int, random: Random) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 0): doubling, with up to half as much again.

    The random part keeps clients that failed together from coming back together.
    """
    base = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt, 16))
    return base * (1 + _JITTER_SHARE * random.random())


class Patience:
    """How long one call goes on trying.

    Args:
        attempts: in all, of those that failed.
        random: see ``delay_s``.
        patience_s: in all, spent waiting.
    """

    def __init__(self, attempts: int, random: Random, patience_s: float = PATIENCE_S) -> None:
        self._attempts = attempts
        self._random = random
        self._left_s = patience_s
        self._failures = 0
        self._asked_to_wait = 0

    def after_failure(self, retry_after_s: float | None = None) -> float | None:
        """Return the seconds to wait before the next attempt; None: give up.

        retry_after_s: what the other side asked for, None = nothing.
        """
        self._failures += 1
        if self._failures >= self._attempts:
            return None
        return self._spend(max(delay_s(self._failures - 1, self._random), retry_after_s or 0))

    def after_limit(self, retry_after_s: float | None = None) -> float | None:
        """Likewise, where nothing failed but too many came: only the waiting counts. With one attempt: give up."""
        if self._attempts <= 1:
            return None
        pause_s = delay_s(self._asked_to_wait, self._random)
        self._asked_to_wait += 1
        if retry_after_s is not None:
            pause_s = retry_after_s * (1 + _JITTER_SHARE * self._random.random())
        return self._spend(pause_s)

    def _spend(self, pause_s: float) -> float | None:
        self._left_s -= pause_s
        return pause_s if self._left_s >= 0 else None


def read_retry_after(header: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header; None: there is none, or it is a date, which no tracker sends."""
    text = (header or "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else None
