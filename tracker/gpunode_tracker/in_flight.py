"""What is being worked on now, by address: requests, and the memory that large bodies take. One process's own."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Self

from gpunode_tracker.errors import Overloaded, TooManyRequests
from gpunode_tracker.limits import Limits

RETRY_AFTER_S = 1
"""Most requests take milliseconds."""
RETRY_LARGE_AFTER_S = 5
"""A large body may take up to half a minute to come."""


class InFlight:
    """Counts what runs; what ends is forgotten."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests: dict[str, int] = {}
        self._waiting: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._bytes_in_all = 0

    def visit(self, holder: str) -> "Visit":
        """Return one request of an address; it is counted within a ``with`` block, whose beginning may refuse it.

        Raises:
            TooManyRequests: too many of this address are unfinished.
        """
        return Visit(self, holder)

    def enter(self, holder: str) -> None:
        """Count one more request of an address.

        Raises:
            TooManyRequests: as for ``visit``.
        """
        running = self._requests.get(holder, 0)
        if running >= self._limits.requests_per_address:
            raise TooManyRequests(
                f"{self._limits.requests_per_address} requests from your address are being worked on already. Wait "
                "for answers before you send more.",
                retry_after_s=RETRY_AFTER_S,
                reason="requests_in_flight",
            )
        self._requests[holder] = running + 1

    @contextmanager
    def pause(self, holder: str) -> Iterator[None]:
        """Do not count a request while it only waits for something to happen."""
        self.leave(holder)
        try:
            yield
        finally:
            self._requests[holder] = self._requests.get(holder, 0) + 1

    def leave(self, holder: str) -> None:
        """Count one less."""
        left = self._requests[holder] - 1
        if left:
            self._requests[holder] = left
        else:
            del self._requests[holder]

    def take_room_to_wait(self, holder: str) -> None:
        """Count one more request of an address that only waits, or will.

        Proxies' connections are not limited by address, so without this one client could keep all of them busy.

        Raises:
            TooManyRequests: as many wait as the address may have connections.
        """
        if self._waiting.get(holder, 0) >= self._limits.connections_per_address:
            raise TooManyRequests(
                f"{self._limits.connections_per_address} requests from your address wait for something to happen "
                "already. End some, or wait for answers before you send more.",
                retry_after_s=RETRY_AFTER_S,
                reason="waiting_requests",
            )
        self._waiting[holder] += 1

    def give_room_to_wait(self, holder: str) -> None:
        """Count one less of them."""
        self._waiting[holder] -= 1
        if not self._waiting[holder]:
            del self._waiting[holder]

    def take_bytes(self, holder: str, count: int) -> None:
        """Take memory for a large body.

        Raises:
            TooManyRequests, Overloaded: there is none left, of this address or in all.
        """
        if self._bytes.get(holder, 0) + count > self._limits.large_body_bytes_per_address:
            raise TooManyRequests(
                "Other large bodies from your address, or large answers to it, are being worked on. Send and fetch one "
                "after the other.",
                retry_after_s=RETRY_LARGE_AFTER_S,
                reason="large_bodies",
            )
        if self._bytes_in_all + count > self._limits.large_body_bytes:
            raise Overloaded(
                "The tracker is working on as many large bodies and answers as it has memory for. Try again later.",
                retry_after_s=RETRY_LARGE_AFTER_S,
                reason="large_bodies_in_all",
            )
        self._bytes[holder] += count
        self._bytes_in_all += count

    def give_bytes(self, holder: str, count: int) -> None:
        """Give memory back."""
        self._bytes_in_all -= count
        self._bytes[holder] -= count
        if not self._bytes[holder]:
            del self._bytes[holder]

    def __len__(self) -> int:
        """Return how many addresses are being worked for."""
        return len(self._requests.keys() | self._bytes.keys())

    @property
    def waiting(self) -> int:
        """How many requests wait, or will."""
        return self._waiting.total()


class Visit:
    """One request. large_bytes: what its body takes of the memory for large ones."""

    def __init__(self, counts: InFlight, holder: str) -> None:
        self._counts = counts
        self._holder = holder
        self.large_bytes = 0
        self._has_room_to_wait = False

    def __enter__(self) -> Self:
        self._counts.enter(self._holder)
        return self

    def __exit__(self, *_: object) -> None:
        self._counts.leave(self._holder)
        if self._has_room_to_wait:
            self._counts.give_room_to_wait(self._holder)
            self._has_room_to_wait = False
        self.free()

    def will_wait(self) -> None:
        """Take room to wait, which the request has until its end; again changes nothing.

        Raises:
            TooManyRequests: too many of this address wait.
        """
        if not self._has_room_to_wait:
            self._counts.take_room_to_wait(self._holder)
            self._has_room_to_wait = True

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context in which the request is not counted as being worked on: long polls are only connections.

        Raises:
            TooManyRequests: as for ``will_wait``.
        """
        self.will_wait()
        return self._counts.pause(self._holder)

    def hold(self, count: int) -> None:
        """Take more bytes; they are free again when the request ends.

        Raises:
            TooManyRequests, Overloaded: there is no room.
        """
        self._counts.take_bytes(self._holder, count)
        self.large_bytes += count

    def free(self) -> None:
        """Give the bytes back before the request ends."""
        if self.large_bytes:
            self._counts.give_bytes(self._holder, self.large_bytes)
            self.large_bytes = 0
