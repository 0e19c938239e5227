"""Which of llama.cpp's slots a job runs in, so that cached prompts stay with the client that sent them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class _Slot:
    number: int
    owner: str = ""
    used: int = 0  # value of the table's counter when the slot was last taken; 0 = never
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot for one job. reuse_cache: its cache holds only prompts of the same owner."""

    slot: int
    reuse_cache: bool


class SlotTable:
    """Hands out slots; thread-safe. Never more leases at once than slots."""

    def __init__(self, count: int) -> None:
        self._slots = [_Slot(number) for number in range(count)]
        self._lock = threading.Lock()
        self._uses = 0

    @contextmanager
    def lease(self, owner: str) -> Iterator[Lease]:
        """Hold a slot: the owner's most recent one, else the one unused for longest. An empty owner shares nothing."""
        with self._lock:
            slot, reuse = self._choose(owner)
            self._uses += 1
            slot.owner, slot.used, slot.busy = owner, self._uses, True
        try:
            yield Lease(slot.number, reuse)
        finally:
            with self._lock:
                slot.busy = False

    def _choose(self, owner: str) -> tuple[_Slot, bool]:
        free = [slot for slot in self._slots if not slot.busy]
        own = [slot for slot in free if owner and slot.owner == owner]
        if own:
            return max(own, key=lambda slot: slot.used), True
        return min(free, key=lambda slot: slot.used), False
