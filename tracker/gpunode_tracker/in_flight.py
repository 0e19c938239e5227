"""What is being worked on now, by address: requests, and the memory that large bodies take. One process's own."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Self

from gpunode_tracker.errors import Overloaded, TooManyRequests
from gpunode_tracker.limits import Limits

RETRY_AFTER_S = 1
"""Most requests take milliseconds."""
RETRY_LARGE_AFTER_S = 5
"""A large body may take up to half a minute to come."""


class Share:
    """What each address has of something of which it may have only so much; who has nothing is forgotten.

    Args:
        most: of one address.
        refusal: what is told whoever wants more.
        reason: the same for the counters.
        retry_after_s: when there may be room again.
    """

    def __init__(self, most: int, refusal: str, *, reason: str, retry_after_s: int) -> None:
        self.held: dict[str, int] = {}
        self._most = most
        self._refusal = refusal
        self._reason = reason
        self._retry_after_s = retry_after_s

    def check(self, holder: str, count: int = 1) -> None:
        """Refuse an address that would have too much with ``count`` more.

        Raises:
            TooManyRequests: it would.
        """
        if self.held.get(holder, 0) + count > self._most:
            raise self._refused()

    def take(self, holder: str, count: int = 1) -> None:
        """Count so much more of an address.

        Raises:
            TooManyRequests: that is too much.
        """
        held = self.held.get(holder, 0) + count
        if held > self._most:
            raise self._refused()
        self.held[holder] = held

    def take_back(self, holder: str) -> None:
        """Count one more of an address that gave it only for a while; it is not refused."""
        self.held[holder] = self.held.get(holder, 0) + 1

    def give(self, holder: str, count: int = 1) -> None:
        """Count so much less."""
        left = self.held[holder] - count
        if left:
            self.held[holder] = left
        else:
            del self.held[holder]

    @property
    def total(self) -> int:
        """How much all addresses have together."""
        return sum(self.held.values())

    def _refused(self) -> TooManyRequests:
        return TooManyRequests(self._refusal, retry_after_s=self._retry_after_s, reason=self._reason)


class InFlight:
    """Counts what runs; what ends is forgotten. ``requests`` are being worked on, ``waiting`` ones wait, or will."""

    def __init__(self, limits: Limits) -> None:
        self.requests = Share(
            limits.requests_per_address,
            f"{limits.requests_per_address} requests from your address are being worked on already. Wait for answers "
            "before you send more.",
            reason="requests_in_flight",
            retry_after_s=RETRY_AFTER_S,
        )
        # proxies' connections are not limited by address, so without this one client could keep all of them busy
        self.waiting = Share(
            limits.connections_per_address,
            f"{limits.connections_per_address} requests from your address wait for something to happen already. End "
            "some, or wait for answers before you send more.",
            reason="waiting_requests",
            retry_after_s=RETRY_AFTER_S,
        )
        self._bytes = Share(
            limits.large_body_bytes_per_address,
            "Other large bodies from your address, or large answers to it, are being worked on. Send and fetch one "
            "after the other.",
            reason="large_bodies",
            retry_after_s=RETRY_LARGE_AFTER_S,
        )
        self._most_bytes = limits.large_body_bytes
        self._bytes_in_all = 0

    def visit(self, holder: str) -> "Visit":
        """Return one request of an address; it is counted within a ``with`` block, whose beginning may refuse it.

        Raises:
            TooManyRequests: too many of this address are unfinished.
        """
        return Visit(self, holder)

    @contextmanager
    def pause(self, holder: str) -> Iterator[None]:
        """Do not count a request while it only waits for something to happen."""
        self.requests.give(holder)
        try:
            yield
        finally:
            self.requests.take_back(holder)

    def take_bytes(self, holder: str, count: int) -> None:
        """Take memory for a large body.

        Raises:
            TooManyRequests, Overloaded: there is none left, of this address or in all.
        """
        self._bytes.check(holder, count)
        if self._bytes_in_all + count > self._most_bytes:
            raise Overloaded(
                "The tracker is working on as many large bodies and answers as it has memory for. Try again later.",
                retry_after_s=RETRY_LARGE_AFTER_S,
                reason="large_bodies_in_all",
            )
        self._bytes.take(holder, count)
        self._bytes_in_all += count

    def give_bytes(self, holder: str, count: int) -> None:
        """Give memory back."""
        self._bytes_in_all -= count
        self._bytes.give(holder, count)

    def __len__(self) -> int:
        """Return how many addresses are being worked for."""
        return len(self.requests.held.keys() | self._bytes.held.keys())


class Visit:
    """One request. large_bytes: what its body takes of the memory for large ones."""

    __slots__ = ("_counts", "_has_room_to_wait", "_holder", "large_bytes")

    def __init__(self, counts: InFlight, holder: str) -> None:
        self._counts = counts
        self._holder = holder
        self.large_bytes = 0
        self._has_room_to_wait = False

    def __enter__(self) -> Self:
        self._counts.requests.take(self._holder)
        return self

    def __exit__(self, *_: object) -> None:
        self._counts.requests.give(self._holder)
        if self._has_room_to_wait:
            self._counts.waiting.give(self._holder)
            self._has_room_to_wait = False
        if self.large_bytes:
            self.free()

    def will_wait(self) -> None:
        """Take room to wait, which the request has until its end; again changes nothing.

        Raises:
            TooManyRequests: too many of this address wait.
        """
        if not self._has_room_to_wait:
            self._counts.waiting.take(self._holder)
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
