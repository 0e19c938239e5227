"""The signed list of grants and certificates that no longer count; heartbeats bring it to the nodes."""

from typing import ClassVar

from gpunode_protocol.signing import SignedBody
from gpunode_protocol.validation import Count, Name, NetworkId, UnixSeconds


class Revocations(SignedBody):
    """Signed by the tracker key ``kid``.

    sequence: a newer list has a larger one; an older list never replaces it.
    grants: ``jti`` values that have not expired on their own yet. certificates: serials likewise.
    """

    signature_type: ClassVar[str] = "revocations"

    network: NetworkId
    sequence: Count
    issued_at: UnixSeconds
    grants: tuple[Name, ...] = ()
    certificates: tuple[Name, ...] = ()
    kid: Name
