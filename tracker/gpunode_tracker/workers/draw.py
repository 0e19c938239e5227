"""Drawing lots by weight. Pure: the randomness is passed in."""

import math
import random
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

_LEAST_WEIGHT: Final = 1e-9
"""Who always failed is drawn when nobody else is there, else never."""


def drawn_order(candidates: Iterable[T], weight: Callable[[T], float], rng: random.Random) -> list[T]:
    """Return all candidates in an order in which each next one is drawn with a chance proportional to its weight.

    By exponential lots (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir").
    """
    lots = [(-math.log(1.0 - rng.random()) / max(weight(each), _LEAST_WEIGHT), each) for each in candidates]
    return [each for _, each in sorted(lots, key=lambda lot: lot[0])]
