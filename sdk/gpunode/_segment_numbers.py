"""The numbers of a job's requests: 64 at most. Pure."""

from gpunode_protocol.identity import PeerId
from gpunode_protocol.validation import MAX_SEGMENT_NUMBER


class SegmentNumbers:
    """Gives each request its number: a new one, unless the last request was refused before it was accepted.

    Nobody works under a number that was refused, so another node may have it. The node that refused it may not: it
    remembers the number until it has forgotten the request.
    """

    def __init__(self) -> None:
        self._last = -1
        self._asked: set[PeerId] = set()
        self._is_free = False

    @property
    def are_used_up(self) -> bool:
        """Whether no request can have a number any more; ``take`` must not be called then."""
        return self._last >= MAX_SEGMENT_NUMBER

    def take(self, node: PeerId) -> int:
        """Return the number of a request to a node."""
        if not self._is_free or node in self._asked:
            self._last += 1
            self._asked.clear()
        self._asked.add(node)
        self._is_free = False
        return self._last

    def unread(self, number: int, node: PeerId) -> None:
        """Note that a node did not even read a request: it may have the number again, as may any other."""
        if number == self._last:
            self._asked.discard(node)
            self._is_free = bool(self._asked)
            if not self._asked:
                self._last -= 1

    def refused(self, number: int) -> None:
        """Note that a node said no to a request before it accepted it."""
        if number == self._last:
            self._is_free = True
