"""Grants: the only tokens by which credits are spent."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.grants import (
    CLOCK_LEEWAY_S,
    MAX_GRANT_LIFETIME_S,
    Cap,
    Confirmation,
    Grant,
    GrantChecks,
    check_grant,
    grant_key_id,
    issue_grant,
    read_grant,
)
from gpunode_protocol.identity import Identity
from gpunode_protocol.tasks import Task

from tests.protocol.samples import (
    CLIENT,
    KID,
    NETWORK,
    NODE,
    NOW,
    OTHER_NETWORK,
    STRANGER,
    TRACKER,
    grant_claims,
    grant_token,
)

TYPE = "gpunode-grant+jwt"
CLAIMS: dict[str, Any] = grant_claims().model_dump(exclude_none=True)


def _token(claims: dict[str, Any], *, by: Identity = TRACKER, **header: Any) -> str:
    """Return a token with any claims and header."""
    key = Ed25519PrivateKey.from_private_bytes(by.seed)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": KID, "typ": TYPE, **header})


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _read(token: str, *, now: float = NOW) -> Grant:
    return read_grant(token, public_key=TRACKER.public_key, network=NETWORK, now=now)


def _refused(token: str, *, now: float = NOW) -> ErrorCode:
    """Return the code with which a token is refused, by its header or by its claims."""
    try:
        grant_key_id(token)
    except JobError as error:
        return error.code
    with pytest.raises(JobError) as caught:
        _read(token, now=now)
    return caught.value.code


def test_round_trip() -> None:
    """A grant is read as it was issued, and names the key that signed it."""
    assert _read(grant_token()) == grant_claims()
    assert grant_key_id(grant_token()) == KID


def test_tokens_are_deterministic() -> None:
    """The same claims give the same token (EdDSA has no random part)."""
    assert grant_token() == grant_token()


def test_named_caps() -> None:
    """A grant for named nodes may be spent there only, up to each node's cap; all of it is reserved."""
    grant = _read(grant_token(cap=Cap(nodes={NODE.peer_id: 5_000, STRANGER.peer_id: 7_000})))
    assert grant.cap_at_microcredits(NODE.peer_id) == 5_000
    assert grant.cap_at_microcredits(CLIENT.peer_id) == 0
    assert grant.reserved_microcredits == 12_000


def test_open_cap() -> None:
    """An open grant has one cap everywhere."""
    grant = _read(grant_token(cap=Cap(open=9_000)))
    assert grant.cap_at_microcredits(NODE.peer_id) == grant.cap_at_microcredits(CLIENT.peer_id) == 9_000
    assert grant.reserved_microcredits == 9_000


@pytest.mark.parametrize(
    "cap",
    [
        {},
        {"open": 1, "nodes": {NODE.peer_id: 1}},
        {"nodes": {Identity.from_seed(bytes([n]) * 32).peer_id: 1 for n in range(17)}},
        {"nodes": {"someone": 1}},
        {"nodes": {NODE.peer_id + "\n": 1}},
        {"nodes": {NODE.peer_id: -1}},
        {"open": -1},
        {"open": 1.5},
        {"open": True},
        {"open": "1"},
    ],
    ids=str,
)
def test_other_caps_are_refused(cap: dict[str, Any]) -> None:
    """A cap is either open or for at most 16 named nodes, in whole micro-credits."""
    assert _refused(_token({**CLAIMS, "cap": cap})) is ErrorCode.GRANT_INVALID


def test_without_signature() -> None:
    """``alg: none`` is refused, with and without the header's other fields right."""
    for algorithm in ("none", "None", "NONE"):
        header = json.dumps({"alg": algorithm, "typ": TYPE, "kid": KID}).encode()
        for signature in ("", _base64(b"\0" * 64)):
            token = f"{_base64(header)}.{_base64(json.dumps(CLAIMS).encode())}.{signature}"
            assert _refused(token) is ErrorCode.GRANT_INVALID
            with pytest.raises(JobError):
                _read(token)


def test_public_key_is_no_secret() -> None:
    """A token whose HMAC key is the tracker's public key is refused."""
    for algorithm in ("HS256", "HS512"):
        token = jwt.encode(CLAIMS, TRACKER.public_key * 2, algorithm=algorithm, headers={"kid": KID, "typ": TYPE})
        assert _refused(token) is ErrorCode.GRANT_INVALID
        with pytest.raises(JobError):
            _read(token)


def test_other_header() -> None:
    """Another token type, an absent or odd kid and a critical extension are refused."""
    assert _refused(_token(CLAIMS, typ="JWT")) is ErrorCode.GRANT_INVALID
    assert _refused(_token(CLAIMS, crit=["b64"], b64=False)) is ErrorCode.GRANT_INVALID
    for kid in (None, ["x"], 5):
        header = json.dumps({"alg": "EdDSA", "typ": TYPE, "kid": kid}).encode()
        assert _refused(f"{_base64(header)}.e30.AAAA") is ErrorCode.GRANT_INVALID


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "é.é.é", grant_token()[:-4], grant_token() + "AAAA", grant_token().replace(".", "!", 1)],
)
def test_unreadable_tokens(token: str) -> None:
    """Pieces of tokens are refused."""
    assert _refused(token) is ErrorCode.GRANT_INVALID


@pytest.mark.parametrize("opening", ['{"a":', "[", '{"kid":['])
def test_nested_header(opening: str) -> None:
    """A header nested thousands of levels deep is refused, not a crash."""
    header = _base64(opening.encode() * (6_000 // len(opening)))
    assert _refused(f"{header}.e30.AAAA") is ErrorCode.GRANT_INVALID


def test_every_changed_character_is_noticed() -> None:
    """No character of a token can be exchanged (the last one's unused bits aside)."""
    token = grant_token()
    for position in range(0, len(token) - 1, 7):
        other = "A" if token[position] != "A" else "B"
        assert _refused(token[:position] + other + token[position + 1 :]) is ErrorCode.GRANT_INVALID


def test_other_signer() -> None:
    """A token signed by another key is refused, whatever kid it names."""
    assert _refused(_token(CLAIMS, by=STRANGER)) is ErrorCode.GRANT_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"aud": f"gpunode:{OTHER_NETWORK}"},
        {"iss": f"gpunode:{OTHER_NETWORK}"},
        {"aud": [f"gpunode:{NETWORK}"]},
        {"sub": ""},
        {"jti": "a/b"},
        {"jti": 5},
        {"exp": NOW + 0.5},
        {"exp": str(NOW + 100)},
        {"iat": None},
        {"cnf": {}},
        {"cnf": {"peer": "someone"}},
        {"tasks": []},
        {"tasks": 5},
        {"tasks": [5]},
        {"priority": 10},
        {"jobs": 0},
        {"price": -1},
    ],
    ids=str,
)
def test_claims_have_limits(change: dict[str, Any]) -> None:
    """Another network's, untyped or out of range claims are refused."""
    assert _refused(_token({**CLAIMS, **change})) is ErrorCode.GRANT_INVALID


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "jti", "iat", "exp", "cnf", "tasks", "jobs", "price", "cap"])
def test_absent_claims(claim: str) -> None:
    """A token without a mandatory claim is refused; no default stands in for it."""
    assert _refused(_token({key: value for key, value in CLAIMS.items() if key != claim})) is ErrorCode.GRANT_INVALID


def test_unknown_claim_is_ignored() -> None:
    """A later version may add claims."""
    assert _read(_token({**CLAIMS, "zeta": 1})) == grant_claims()


def test_expiry() -> None:
    """A grant is valid up to its expiry and not after it."""
    token = grant_token(exp=NOW)
    assert _read(token, now=NOW).exp == NOW
    assert _refused(token, now=NOW + 0.01) is ErrorCode.GRANT_EXPIRED


def test_times_use_the_given_clock() -> None:
    """The machine's own clock decides nothing, also where a token has an nbf."""
    assert _read(_token({**CLAIMS, "nbf": 2**39})).exp == CLAIMS["exp"]


def test_issued_in_the_future() -> None:
    """Clocks may differ by a minute, not by more."""
    assert _read(grant_token(iat=NOW + CLOCK_LEEWAY_S)).iat == NOW + 60
    assert _refused(grant_token(iat=NOW + CLOCK_LEEWAY_S + 1)) is ErrorCode.GRANT_INVALID


def test_lifetime() -> None:
    """No grant lives longer than an hour."""
    assert _read(grant_token(iat=NOW, exp=NOW + MAX_GRANT_LIFETIME_S)).exp == NOW + 3_600
    assert _refused(grant_token(iat=NOW, exp=NOW + MAX_GRANT_LIFETIME_S + 1)) is ErrorCode.GRANT_INVALID


CHECKS: dict[str, Any] = {
    "network": NETWORK,
    "client": CLIENT.peer_id,
    "node": NODE.peer_id,
    "task": Task.LLM,
    "now": NOW,
}


def test_grant_covers_a_request() -> None:
    """The client's own grant for this task passes, open or naming the node."""
    check_grant(grant_claims(), GrantChecks(**CHECKS))
    check_grant(grant_claims(cap=Cap(nodes={NODE.peer_id: 1})), GrantChecks(**CHECKS))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cnf": Confirmation(peer=STRANGER.peer_id)}, ErrorCode.GRANT_INVALID),
        ({"cap": Cap(nodes={STRANGER.peer_id: 1})}, ErrorCode.GRANT_INVALID),
        ({"tasks": ("embedding",)}, ErrorCode.TASK_NOT_ALLOWED),
    ],
)
def test_grant_that_does_not_cover_a_request(change: dict[str, Any], code: ErrorCode) -> None:
    """Another client's grant, one for other nodes and one for other tasks are refused."""
    with pytest.raises(JobError) as caught:
        check_grant(grant_claims(**change), GrantChecks(**CHECKS))
    assert caught.value.code is code


def test_issue_uses_the_kid() -> None:
    """The token names the key that its reader needs."""
    assert grant_key_id(issue_grant(grant_claims(), signer=STRANGER, kid="k2")) == "k2"
