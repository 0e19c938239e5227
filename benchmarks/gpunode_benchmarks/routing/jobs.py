"""The jobs of the routing bench: what each client asks, and when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

PROMPT_TOKENS: Final = (50, 1_000)
OUTPUT_TOKENS: Final = (8, 40)
"""Fewest and most. A short answer is decided by distance, a long one by speed."""
PAUSE_MS: Final = (200.0, 1_000.0)
"""From the end of a client's job to its next one."""
FIRST_JOB: Final = -3
FIRST_CONTACT: Final = -2
WARM_UP: Final = -1
"""Phases of jobs whose choice is not judged; the others are counted from 0."""


@dataclass(frozen=True, slots=True)
class WantedJob:
    """One job. pause_ms: before it."""

    prompt_tokens: int
    output_tokens: int
    pause_ms: float


def draw_jobs(count: int, random: Random) -> list[WantedJob]:
    """Return so many jobs, each of them somewhere between the shortest and the longest."""
    return [WantedJob(*_size(random), random.uniform(*PAUSE_MS)) for _ in range(count)]


def draw_crowd(count: int, random: Random) -> list[WantedJob]:
    """Return jobs of the same sizes without pauses."""
    return [WantedJob(*_size(random), 0.0) for _ in range(count)]


def _size(random: Random) -> tuple[int, int]:
    return random.randint(*PROMPT_TOKENS), random.randint(*OUTPUT_TOKENS)


def share(count: int, of: Sequence[str]) -> dict[str, int]:
    """Return how many of ``count`` jobs each one does; the first ones do one more where it does not come out even."""
    return {name: count // len(of) + (number < count % len(of)) for number, name in enumerate(of)}
