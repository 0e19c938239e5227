"""How a job's output reaches its client, and what the node waits for meanwhile."""

from enum import Enum, auto


class Delivery(Enum):
    """One way of serving jobs."""

    STREAM = auto()
    """Over a stream, as it comes. The client reads and vouches: the node is at most so many bytes and tokens ahead of
    it, and waits for the final voucher. A stream that was cut may be followed by another one."""
    WHOLE = auto()
    """All of it at the end, to the tracker, which has verified what it pays for: nothing waits for vouchers."""
