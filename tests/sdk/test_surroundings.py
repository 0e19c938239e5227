"""What a session takes from outside, where nobody gives it something else."""

import time
from random import SystemRandom

from gpunode._surroundings import Surroundings


def test_by_themselves_they_are_the_real_ones() -> None:
    """Unix time, a clock that nobody sets, and chance that nobody can foresee."""
    around = Surroundings()
    before = time.time(), time.monotonic()
    assert before[0] <= around.clock() <= time.time()
    assert before[1] <= around.monotonic() <= time.monotonic()
    assert isinstance(around.random, SystemRandom)
