"""Node certificates: the tracker's word that a peer id registered with proof of possession of its key."""

import secrets
from typing import ClassVar

from gpunode_protocol.identity import PeerId
from gpunode_protocol.signing import SignedBody
from gpunode_protocol.validation import Name, NetworkId, PeerIdField, UnixSeconds

CERTIFICATE_LIFETIME_S = 7 * 24 * 3600


class Certificate(SignedBody):
    """Signed by the tracker key ``kid``; every advert carries one.

    peer: whom it is for. serial: what a revocation names. issued_at, expires_at: Unix seconds, 7 days apart.
    """

    signature_type: ClassVar[str] = "certificate"

    network: NetworkId
    peer: PeerIdField
    serial: Name
    issued_at: UnixSeconds
    expires_at: UnixSeconds
    kid: Name


def certificate_for(peer: PeerId, *, network: str, kid: str, now: int) -> Certificate:
    """Return the certificate body for a peer, valid from ``now`` (Unix seconds) for 7 days."""
    return Certificate(
        network=network,
        peer=peer,
        serial=secrets.token_hex(8),
        issued_at=now,
        expires_at=now + CERTIFICATE_LIFETIME_S,
        kid=kid,
    )
