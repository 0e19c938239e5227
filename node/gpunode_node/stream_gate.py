"""How many streams, and how many bytes and frames, this node takes from a peer and from an address."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.mesh.interface import MeshStream
from gpunode_protocol.mesh.multiaddrs import origin_of
from gpunode_protocol.mesh.rate_limit import PeerRateLimit
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

MAX_STREAMS_PER_ADDRESS = 256
"""Peer ids cost nothing, and many homes can be behind one address; see ``origin_of``."""

RETRY_AFTER_S = 1.0

BYTES_PER_S, BYTES_BURST = 4_194_304.0, 16_777_216.0
"""From one peer: four of the longest requests a second. Whoever sends more is read from more slowly."""

FRAME_BYTES = 16_384
"""What a frame counts beside its bytes, for a voucher costs the check of a signature: 256 frames a second."""

ADDRESS_SHARE = 8.0
"""An address may send as much as so many peers."""


class StreamGate:
    """Counts the open streams of each peer and address, and slows down who sends too much.

    Args:
        max_streams_per_peer, max_streams_per_address: open at once.
    """

    def __init__(
        self,
        max_streams_per_peer: int = MAX_STREAMS_PER_PEER,
        max_streams_per_address: int = MAX_STREAMS_PER_ADDRESS,
    ) -> None:
        self._max_streams_per_peer = max_streams_per_peer
        self._max_streams_per_address = max_streams_per_address
        self._open: Counter[str] = Counter()
        self._of_peer = PeerRateLimit(rate_per_s=BYTES_PER_S, burst=BYTES_BURST)
        self._of_address = PeerRateLimit(rate_per_s=ADDRESS_SHARE * BYTES_PER_S, burst=ADDRESS_SHARE * BYTES_BURST)

    @contextlib.contextmanager
    def entered(self, stream: MeshStream) -> Iterator[None]:
        """Count a stream while the context lasts.

        Raises:
            JobError: ``too_many_streams``.
        """
        peer, address = f"peer {stream.remote_peer_id}", f"address {_origin(stream)}"
        self._check(peer, self._max_streams_per_peer, "A peer")
        self._check(address, self._max_streams_per_address, "All peers of one address together")
        self._open.update((peer, address))
        try:
            yield
        finally:
            self._open -= Counter((peer, address))

    async def pace(self, stream: MeshStream, size_bytes: int, frames: int) -> None:
        """Wait until what a stream has brought is within its peer's and its address's rates."""
        now, units = asyncio.get_running_loop().time(), size_bytes + frames * FRAME_BYTES
        wait_s = max(
            self._of_peer.spend(stream.remote_peer_id, now, units), self._of_address.spend(_origin(stream), now, units)
        )
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _check(self, name: str, limit: int, who: str) -> None:
        if self._open[name] >= limit:
            raise job_error(
                ErrorCode.TOO_MANY_STREAMS,
                f"{who} may have {limit} streams open here; close one first.",
                retry_after_s=RETRY_AFTER_S,
            )


def _origin(stream: MeshStream) -> str:
    return origin_of(stream.remote_address, stream.remote_peer_id)
