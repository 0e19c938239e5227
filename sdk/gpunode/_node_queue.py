"""Whom a job asks next: first those that were ranked for it, and once its answer has begun whoever can finish it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Final

from gpunode._probing import OwnJob
from gpunode._selection import Choice

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 2.0
"""Between two looks for somebody who can finish an answer."""

FindAgain = Callable[[], Awaitable[Sequence[Choice]]]


def is_free(choice: Choice) -> bool:
    """Return whether a node said that a job could begin at once."""
    return choice.probe is not None and choice.probe.is_free


class NodeQueue:
    """The nodes that a job may still ask.

    Args:
        choices: best first.
        counted: the job at the first of them, see ``Prober``.
        find_again: looks for nodes anew; may find none.
        monotonic: seconds. ``made_at`` is when they had been chosen. ``looks``: how often nodes were looked for anew.
    """

    def __init__(
        self, choices: Sequence[Choice], counted: OwnJob, find_again: FindAgain, *, monotonic: Callable[[], float]
    ) -> None:
        self._choices = deque(choices)
        self._first = choices[0] if choices else None
        self._counted: OwnJob | None = counted
        self._find_again = find_again
        self._monotonic = monotonic
        self._pause_s: float | None = None
        self.made_at = monotonic()
        self.looks = 0

    def __iter__(self) -> Iterator[Choice]:
        return iter(self._choices)

    def next(self, fits: Callable[[Choice], bool] = lambda _: True) -> Choice | None:
        """Take the best one that fits, None when there is nobody left who does."""
        choice = next(filter(fits, self._choices), None)
        if choice is not None:
            self._choices.remove(choice)
        return choice

    def is_next(self, fits: Callable[[Choice], bool]) -> bool:
        """Return whether the best one fits; False when there is nobody left."""
        return bool(self._choices) and fits(self._choices[0])

    def was_first(self, choice: Choice) -> bool:
        """Return whether the job was counted there, see ``take_counted``."""
        return choice is self._first

    def take_counted(self) -> OwnJob | None:
        """Return the job as it was counted at the first node, once."""
        counted, self._counted = self._counted, None
        return counted

    def put_first(self, choice: Choice) -> None:
        """Ask a node once more."""
        self._choices.appendleft(choice)

    def keep(self, fits: Callable[[Choice], bool]) -> bool:
        """Leave out those that do not fit; return whether anybody is left."""
        self._choices = deque(filter(fits, self._choices))
        return bool(self._choices)

    def has(self, fits: Callable[[Choice], bool]) -> bool:
        """Return whether anybody fits."""
        return any(map(fits, self._choices))

    def put_last(self, doubtful: Callable[[Choice], bool]) -> None:
        """Ask the doubtful ones after the others."""
        self._choices = deque(sorted(self._choices, key=doubtful))

    def shorten_pauses(self) -> None:
        """Look soon again: what was asked for has changed, so whoever could not do it may be able now."""
        self._pause_s = None

    async def refill(
        self,
        fits: Callable[[Choice], bool],
        *,
        failed: Collection[str],
        until: float,
        busy_until: Callable[[str], float],
        most_looks: int | None = None,
    ) -> bool:
        """Look for nodes that fit until some are found; those that failed before are asked last.

        Also they may be asked again: a stream can break while its node lives on. The pauses grow from one call to the
        next. Nodes that said when they want to be asked again are left alone until then; if there is nobody else, they
        are asked at the end.

        Args:
            fits: whether a node can finish the answer.
            failed: nodes that this job has tried.
            until: monotonic seconds at which to give up.
            busy_until: of a node, monotonic seconds before which it does not want to be asked.
            most_looks: after so many in all, those of earlier calls too, nobody is looked for but those who are busy.

        Returns:
            Whether anybody was found.
        """
        fitting: list[Choice] = []
        while self._monotonic() < until:
            await asyncio.sleep(self._next_pause_s(until, [busy_until(choice.node) for choice in fitting]))
            self.looks += 1
            fitting = [choice for choice in await self._find_again() if fits(choice)]
            fitting.sort(key=lambda choice: choice.node in failed)
            now = self._monotonic()
            ready = [choice for choice in fitting if busy_until(choice.node) <= now]
            if ready:
                self._choices.extend(ready)
                return True
            if not fitting and most_looks is not None and self.looks >= most_looks:
                return False
        self._choices.extend(fitting)
        return bool(fitting)

    def _next_pause_s(self, until: float, busy: Sequence[float]) -> float:
        pause_s = FIRST_PAUSE_S if self._pause_s is None else self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        now = self._monotonic()
        return max(0.0, min(pause_s, *(at - now for at in (until, *busy))))
