"""How many streams a peer may have open here at once."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

RETRY_AFTER_S = 1.0


class StreamGate:
    """Counts the open streams of each peer."""

    def __init__(self, max_streams_per_peer: int = MAX_STREAMS_PER_PEER) -> None:
        self._max_streams = max_streams_per_peer
        self._open: Counter[PeerId] = Counter()

    @contextlib.contextmanager
    def entered(self, peer: PeerId) -> Iterator[None]:
        """Count a stream while the context lasts.

        Raises:
            JobError: ``too_many_streams``.
        """
        if self._open[peer] >= self._max_streams:
            raise job_error(
                ErrorCode.TOO_MANY_STREAMS,
                f"A peer may have {self._max_streams} streams open here; close one first.",
                retry_after_s=RETRY_AFTER_S,
            )
        self._open[peer] += 1
        try:
            yield
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]
