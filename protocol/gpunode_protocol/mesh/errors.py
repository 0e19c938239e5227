"""Errors of the mesh. Each message says what happened and what to do."""

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.keyfile import IdentityFileError

__all__ = [
    "IdentityFileError",
    "MeshError",
    "MeshUnavailable",
    "P2pdFailed",
    "PeerUnreachable",
    "PortInUse",
    "RecordRejected",
    "StreamDropped",
]


class MeshError(GpunodeError):
    """The peer-to-peer mesh failed."""


class MeshUnavailable(MeshError):
    """The mesh is not running: its daemon p2pd is being restarted, or start() was not called. Try again shortly."""


class P2pdFailed(MeshError):
    """The libp2p daemon p2pd did not start. Check the listen addresses and that hivemind is installed."""


class PortInUse(P2pdFailed):
    """A listen port of the mesh is in use by another program. Stop it, or choose another port."""


class PeerUnreachable(MeshError):
    """The peer could not be reached within the deadline. It may be offline; try another one."""


class StreamDropped(PeerUnreachable):
    """The stream ended while it was being opened, as happens when too many are opened at once. Try again."""


class RecordRejected(Exception):
    """A DHT record is not acceptable.

    Args:
        reason: short stable word for counting, such as ``expired`` or ``bad_signature``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
