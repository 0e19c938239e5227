"""Node certificates."""

from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S, Certificate, certificate_for
from gpunode_protocol.signing import open_signed, sign

from tests.protocol.samples import KID, NETWORK, NODE, NOW, TRACKER


def test_certificate_for_a_week() -> None:
    """A certificate names its peer and lasts seven days."""
    body = certificate_for(NODE.peer_id, network=NETWORK, kid=KID, now=NOW)
    assert (body.peer, body.network, body.kid) == (NODE.peer_id, NETWORK, KID)
    assert body.expires_at - body.issued_at == CERTIFICATE_LIFETIME_S == 604_800
    signed = sign(TRACKER, body)
    assert open_signed(Certificate, signed.envelope, TRACKER.public_key).body == body


def test_serials_differ() -> None:
    """Each certificate can be revoked alone."""
    serials = {certificate_for(NODE.peer_id, network=NETWORK, kid=KID, now=NOW).serial for _ in range(50)}
    assert len(serials) == 50
