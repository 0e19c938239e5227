"""The peer-to-peer mesh: an interface, and hivemind with its daemon p2pd behind it.

Importing this package imports neither hivemind nor anything heavy; ``create_mesh`` does.
"""

from dataclasses import replace

from gpunode_protocol.keyfile import load_identity, load_or_create_identity
from gpunode_protocol.mesh._p2pd import require_free_ports
from gpunode_protocol.mesh.config import LOOPBACK_ADDRESSES, PUBLIC_ADDRESSES, MeshConfig
from gpunode_protocol.mesh.errors import (
    IdentityFileError,
    MeshError,
    MeshUnavailable,
    P2pdFailed,
    PeerUnreachable,
    PortInUse,
    RecordRejected,
)
from gpunode_protocol.mesh.interface import (
    Mesh,
    MeshState,
    MeshStatus,
    MeshStream,
    Reachability,
    StreamHandler,
)
from gpunode_protocol.mesh.records import DhtRecord, FoundRecords, RecordValidator, ValidRecord

__all__ = [
    "LOOPBACK_ADDRESSES",
    "PUBLIC_ADDRESSES",
    "DhtRecord",
    "FoundRecords",
    "IdentityFileError",
    "Mesh",
    "MeshConfig",
    "MeshError",
    "MeshState",
    "MeshStatus",
    "MeshStream",
    "MeshUnavailable",
    "P2pdFailed",
    "PeerUnreachable",
    "PortInUse",
    "Reachability",
    "RecordRejected",
    "RecordValidator",
    "StreamHandler",
    "ValidRecord",
    "create_mesh",
    "load_identity",
    "load_or_create_identity",
    "require_free_ports",
]


def create_mesh(config: MeshConfig, validator: RecordValidator) -> Mesh:
    """Return a mesh that is not started yet.

    Args:
        config: how to take part; the identity file is made if there is none.
        validator: judges every record that is stored here or found elsewhere.

    Raises:
        ModuleNotFoundError: hivemind is not installed (pip install 'gpunode[mesh]').
        IdentityFileError: the identity file cannot be used.
        MeshError: a bootstrap address cannot be read.
    """
    from gpunode_protocol.mesh._hivemind import HivemindMesh  # noqa: PLC0415 -- imports hivemind

    # p2pd's socket is named by an absolute multiaddr
    state_dir = None if config.state_dir is None else config.state_dir.absolute()
    return HivemindMesh(replace(config, identity_path=config.identity_path.absolute(), state_dir=state_dir), validator)
