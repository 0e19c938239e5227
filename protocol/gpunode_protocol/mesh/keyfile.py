"""The mesh's name for ``gpunode_protocol.keyfile``: p2pd reads the identity file itself."""

from gpunode_protocol.keyfile import load_identity, load_or_create_identity

__all__ = ["load_identity", "load_or_create_identity"]
