"""What a participant believes of its network."""

from typing import Any

import pytest
from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S
from gpunode_protocol.errors import BadSignature, ErrorCode, GpunodeError, JobError, MalformedMessage, Untrusted
from gpunode_protocol.grants import issue_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import TrackerKey, key_id_of
from gpunode_protocol.signing import Envelope, SignedBody, sign
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import NodeIndex, Trust, check_advert

from tests.protocol.samples import (
    KID,
    NETWORK,
    NODE,
    NOW,
    OTHER_NETWORK,
    ROOT,
    STRANGER,
    TRACKER,
    certificate,
    grant_claims,
    grant_token,
    keyset_body,
    revocations,
    signed_advert,
    trust,
)

RETIRED = Identity.from_seed(b"\x21" * 32)
FUTURE = Identity.from_seed(b"\x22" * 32)
RETIRED_AT = NOW - 30 * 86_400


def _key(identity: Identity, **times: Any) -> TrackerKey:
    return TrackerKey(
        **{"kid": key_id_of(identity.public_key), "public_key": identity.public_key, "not_before": 0, **times}
    )


KEYS = (
    _key(RETIRED, not_before=NOW - 90 * 86_400, retired_at=RETIRED_AT),
    _key(TRACKER, not_before=RETIRED_AT),
    _key(FUTURE, not_before=NOW + 7_200),
)


def _head(**changes: Any) -> TreeHead:
    fields = {
        "network": NETWORK,
        "log": "log-1",
        "epoch": 0,
        "size": 1,
        "root": b"\0" * 32,
        "issued_at": NOW,
        "kid": KID,
    }
    return TreeHead(**{**fields, **changes})


def _signed_by(identity: Identity, issued_at: int, **changes: Any) -> Envelope:
    return sign(identity, _head(kid=key_id_of(identity.public_key), issued_at=issued_at, **changes)).envelope


def test_network_follows_from_the_root_key() -> None:
    """The pinned key says which network this is."""
    assert trust().network == NETWORK


def test_keyset_by_another_root() -> None:
    """A key set that the pinned root key did not sign is refused."""
    with pytest.raises(Untrusted):
        Trust.from_keyset(ROOT.public_key, sign(STRANGER, keyset_body()).envelope)
    with pytest.raises(Untrusted):
        Trust.from_keyset(STRANGER.public_key, sign(ROOT, keyset_body()).envelope)
    with pytest.raises(Untrusted):
        Trust.from_keyset(b"", sign(ROOT, keyset_body()).envelope)


@pytest.mark.parametrize(
    "change",
    [
        {"network": OTHER_NETWORK},
        {"keys": (TrackerKey(kid="mine", public_key=TRACKER.public_key, not_before=0),)},
        {"keys": (_key(TRACKER), _key(TRACKER, retired_at=5))},
    ],
    ids=["other network", "wrong kid", "one key twice"],
)
def test_keyset_that_contradicts_itself(change: dict[str, Any]) -> None:
    """A key set for another network, with a wrong kid or one key twice is refused."""
    with pytest.raises(Untrusted):
        trust(**change)


def test_newer_keyset_replaces() -> None:
    """A larger sequence replaces a smaller one; older and equal ones change nothing."""
    old = trust(sequence=3)
    newer = old.updated(sign(ROOT, keyset_body(sequence=4)).envelope)
    assert newer.keyset.body.sequence == 4
    assert newer.updated(sign(ROOT, keyset_body(sequence=4, keys=KEYS)).envelope) is newer
    assert newer.updated(sign(ROOT, keyset_body(sequence=3)).envelope) is newer
    with pytest.raises(Untrusted):
        newer.updated(sign(STRANGER, keyset_body(sequence=5)).envelope)


def test_retired_key_keeps_its_past() -> None:
    """What a key signed while it was in use stays valid; what it signs later is not."""
    believed = trust(keys=KEYS)
    assert believed.open_tree_head(_signed_by(RETIRED, RETIRED_AT)).body.size == 1
    assert believed.open_tree_head(_signed_by(RETIRED, RETIRED_AT + 60))
    with pytest.raises(Untrusted, match="not in use"):
        believed.open_tree_head(_signed_by(RETIRED, RETIRED_AT + 61))


def test_key_before_its_time() -> None:
    """A key signs nothing before its first instant."""
    believed = trust(keys=KEYS)
    with pytest.raises(Untrusted, match="not in use"):
        believed.open_tree_head(_signed_by(FUTURE, NOW))
    assert believed.open_tree_head(_signed_by(FUTURE, NOW + 7_200 - 60))


def test_unknown_key() -> None:
    """A key that is not in the set signs nothing."""
    with pytest.raises(Untrusted, match="not in the key set"):
        trust().open_tree_head(_signed_by(STRANGER, NOW))


def test_key_id_of_another_key() -> None:
    """Naming a good key does not help a bad signature."""
    with pytest.raises(BadSignature):
        trust().open_tree_head(sign(STRANGER, _head()).envelope)


def test_tree_head_of_another_network() -> None:
    """The same tracker key signs for one network."""
    with pytest.raises(Untrusted, match="another network"):
        trust().open_tree_head(_signed_by(TRACKER, NOW, network=OTHER_NETWORK))


def test_revocations_and_index() -> None:
    """Revocation lists and node indexes verify alike."""
    index = NodeIndex(network=NETWORK, issued_at=NOW, adverts=(signed_advert().envelope,), kid=KID)
    assert trust().open_index(sign(TRACKER, index).envelope).body.adverts == (signed_advert().envelope,)
    assert trust().open_revocations(revocations().envelope) == revocations()
    for body, opener in ((index, trust().open_index), (revocations().body, trust().open_revocations)):
        assert isinstance(body, SignedBody)
        with pytest.raises(BadSignature):
            opener(sign(STRANGER, body).envelope)


def test_one_type_is_no_other() -> None:
    """A signed head is not read as a revocation list."""
    with pytest.raises(GpunodeError):
        trust().open_revocations(_signed_by(TRACKER, NOW))


def test_certificate() -> None:
    """A certificate is valid from its issue, with a minute for clocks, to its expiry."""
    body = certificate().body
    for now in (body.issued_at - 60, NOW, body.expires_at):
        assert trust().open_certificate(certificate().envelope, now=now).body == body
    for now in (body.issued_at - 61, body.expires_at + 1):
        with pytest.raises(Untrusted):
            trust().open_certificate(certificate().envelope, now=now)


def test_certificate_lifetime() -> None:
    """A key that was stolen and retired cannot sign certificates of the past that last for ever."""
    issued_at = RETIRED_AT - 10
    body = certificate(issued_at=issued_at, kid=key_id_of(RETIRED.public_key), expires_at=NOW + 1_000).body
    with pytest.raises(Untrusted, match="longer than"):
        trust(keys=KEYS).open_certificate(sign(RETIRED, body).envelope, now=NOW)
    last = certificate(issued_at=NOW, expires_at=NOW + CERTIFICATE_LIFETIME_S)
    assert trust().open_certificate(last.envelope, now=NOW)


def test_grant() -> None:
    """A grant verifies by the key that it names."""
    assert trust().open_grant(grant_token(), now=NOW) == grant_claims()


def test_grant_of_an_unknown_key() -> None:
    """A grant by a key that the network does not have is refused."""
    token = issue_grant(grant_claims(), signer=STRANGER, kid=key_id_of(STRANGER.public_key))
    with pytest.raises(JobError, match="does not have") as caught:
        trust().open_grant(token, now=NOW)
    assert caught.value.code is ErrorCode.GRANT_INVALID


def test_grant_outlives_its_key() -> None:
    """A grant issued before its key's retirement stays valid, one issued after it is not."""
    kid = key_id_of(RETIRED.public_key)
    good = issue_grant(grant_claims(iat=RETIRED_AT - 5, exp=RETIRED_AT + 600), signer=RETIRED, kid=kid)
    late = issue_grant(grant_claims(iat=RETIRED_AT + 100, exp=RETIRED_AT + 600), signer=RETIRED, kid=kid)
    assert trust(keys=KEYS).open_grant(good, now=RETIRED_AT + 300).exp == RETIRED_AT + 600
    with pytest.raises(JobError) as caught:
        trust(keys=KEYS).open_grant(late, now=RETIRED_AT + 300)
    assert caught.value.code is ErrorCode.GRANT_INVALID


def test_advert() -> None:
    """An advert of a certified peer passes."""
    check_advert(trust(), signed_advert(), None, now=NOW)
    check_advert(trust(), signed_advert(), revocations().body, now=NOW)


def test_advert_with_a_foreign_certificate() -> None:
    """A certificate is for the peer that it names."""
    with pytest.raises(Untrusted, match="another peer"):
        check_advert(trust(), signed_advert(certificate=certificate(peer=STRANGER.peer_id).envelope), None, now=NOW)


def test_advert_of_another_network() -> None:
    """An advert names the network of its certificate."""
    with pytest.raises(Untrusted):
        check_advert(trust(), signed_advert(network=OTHER_NETWORK), None, now=NOW)


def test_advert_with_a_revoked_certificate() -> None:
    """A revoked serial ends an advert."""
    listed = revocations(certificates=(certificate().body.serial,)).body
    with pytest.raises(Untrusted, match="revoked"):
        check_advert(trust(), signed_advert(), listed, now=NOW)


def test_advert_with_a_self_made_certificate() -> None:
    """A node cannot certify itself."""
    own = sign(NODE, certificate().body).envelope
    with pytest.raises(BadSignature):
        check_advert(trust(), signed_advert(certificate=own), None, now=NOW)
    with pytest.raises(MalformedMessage):
        check_advert(trust(), signed_advert(certificate=signed_advert().envelope), None, now=NOW)
