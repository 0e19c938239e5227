"""Waiting between attempts, pure."""

from random import Random
from typing import Final

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 2.0
_JITTER_SHARE: Final = 0.5


def delay_s(attempt: int, random: Random) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 0): doubling, with up to half as much again.

    The random part keeps clients that failed together from coming back together.
    """
    base = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt, 16))
    return base * (1 + _JITTER_SHARE * random.random())
