"""Two ends of a stream in memory, with the mesh's contract: a close ends both directions, a full pipe blocks."""

from gpunode_node.bell import Bell
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.errors import PeerUnreachable


class MemoryStream:
    """One end; made by ``stream_pair``."""

    def __init__(self, remote_peer_id: PeerId, capacity_bytes: int) -> None:
        self.remote_peer_id = remote_peer_id
        self.remote_address = "/memory/1"
        self.other: MemoryStream
        self.closed = False
        self.aborted = False
        self._capacity_bytes = capacity_bytes
        self._incoming = bytearray()
        self._bell = Bell()

    @property
    def unsent_bytes(self) -> int:
        """See ``MeshStream``."""
        return len(self.other._incoming)

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See ``MeshStream``."""
        while not self._incoming and not self.closed:
            await self._bell.wait()
        data = bytes(self._incoming[:max_bytes])
        del self._incoming[:max_bytes]
        self.other._bell.ring()
        return data

    async def write(self, data: bytes) -> None:
        """See ``MeshStream``."""
        if self.closed:
            raise PeerUnreachable
        self.other._incoming += data
        self.other._bell.ring()
        while self.unsent_bytes > self._capacity_bytes and not self.closed:
            await self._bell.wait()

    async def close(self) -> None:
        """See ``MeshStream``."""
        for end in (self, self.other):
            end.closed = True
            end._bell.ring()

    def abort(self) -> None:
        """See ``MeshStream``."""
        self.aborted = True
        for end in (self, self.other):
            end.closed = True
            end._incoming.clear()
            end._bell.ring()


def stream_pair(client: PeerId, node: PeerId, capacity_bytes: int = 65_536) -> tuple[MemoryStream, MemoryStream]:
    """Return the client's end and the node's end."""
    clients_end, nodes_end = MemoryStream(node, capacity_bytes), MemoryStream(client, capacity_bytes)
    clients_end.other, nodes_end.other = nodes_end, clients_end
    return clients_end, nodes_end
