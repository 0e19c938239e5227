"""When slowed hosts run and when they stand still. Pure: time is given."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PERIOD_S: Final = 0.05
"""A slowed host runs once in each: it stands still for less than that at a time."""


@dataclass(slots=True)
class _Pace:
    share: float
    runs: bool
    due_at: float


class Pacing:
    """Slowed hosts, by name."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    @property
    def next_due_at(self) -> float | None:
        """When the next host is to be stopped or continued; None if no host is slowed."""
        return min((pace.due_at for pace in self._paces.values()), default=None)

    def slow(self, host: str, share: float, now: float) -> None:
        """Let a host, which runs now, have a share of the time, > 0 to < 1."""
        self._paces[host] = _Pace(share, runs=True, due_at=now + share * PERIOD_S)

    def forget(self, host: str) -> None:
        """Leave a host alone from now on."""
        self._paces.pop(host, None)

    def due(self, now: float) -> Iterator[tuple[str, bool]]:
        """Yield the hosts to be changed by now, and whether each is to run."""
        for host, pace in self._paces.items():
            if pace.due_at <= now:
                pace.runs = not pace.runs
                pace.due_at = now + PERIOD_S * (pace.share if pace.runs else 1 - pace.share)
                yield host, pace.runs
