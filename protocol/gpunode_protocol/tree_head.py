"""Signed heads of the ledger's Merkle log."""

from typing import ClassVar

from gpunode_protocol.signing import SignedBody
from gpunode_protocol.validation import Count, Digest, Name, NetworkId, UnixSeconds


class TreeHead(SignedBody):
    """Signed by the tracker key ``kid``.

    log: id of this log (a restore starts a new one). epoch: of the sequencer that signed it. size: leaves.
    root: Merkle tree hash of those leaves (RFC 6962 §2.1). issued_at: Unix seconds.
    """

    signature_type: ClassVar[str] = "tree-head"

    network: NetworkId
    log: Name
    epoch: Count
    size: Count
    root: Digest
    issued_at: UnixSeconds
    kid: Name
