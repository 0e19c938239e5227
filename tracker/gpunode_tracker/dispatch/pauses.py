"""What failed is left alone for a while: lanes whose jobs found no node, regions where nobody answers. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0


@dataclass
class _Pause:
    until: float
    length_s: float


class Pauses(Generic[K]):
    """Each further failure makes a pause twice as long; a success ends it. Instants: monotonic seconds."""

    def __init__(self) -> None:
        self._pauses: dict[K, _Pause] = {}

    def failed(self, key: K, now: float) -> None:
        """Leave something alone, longer than the last time."""
        before = self._pauses.get(key)
        length_s = FIRST_PAUSE_S if before is None else min(LONGEST_PAUSE_S, 2 * before.length_s)
        self._pauses[key] = _Pause(now + length_s, length_s)

    def succeeded(self, key: K) -> None:
        """Forget what was."""
        self._pauses.pop(key, None)

    def is_paused(self, key: K, now: float) -> bool:
        """Return whether something is to be left alone now."""
        pause = self._pauses.get(key)
        return pause is not None and now < pause.until

    def forget_old(self, now: float) -> None:
        """Forget what failed long ago."""
        self._pauses = {key: pause for key, pause in self._pauses.items() if now < pause.until + LONGEST_PAUSE_S}

    def clear(self) -> None:
        """Forget everything."""
        self._pauses.clear()
