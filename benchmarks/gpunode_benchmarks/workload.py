"""What the engine bench asks, and in which order. Pure."""

import itertools
from collections.abc import Iterator

SIDES = ("bare", "engine", "bare_again")
"""The library alone, our engine, and the library alone once more in another process (for ``a_a``)."""

MIN_ROUNDS = 6
"""One round in each order of the three sides: every side then precedes every other one equally often."""


def orders(rounds: int) -> Iterator[tuple[str, ...]]:
    """Yield the order of the sides for each round, in turn all six.

    Args:
        rounds: >= 1; in multiples of six no side has an advantage.
    """
    return itertools.islice(itertools.cycle(itertools.permutations(SIDES)), rounds)


def prompt_of(number: int) -> str:
    """Return the user message ``number`` (>= 0); none equals another one or begins like it.

    Short, so that decoding, the steady part of a job, takes most of the time.
    """
    return f"{number}: tell me a long story."
