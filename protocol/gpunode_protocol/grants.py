"""Grants: short-lived tokens (JWT, EdDSA) by which the tracker lets a client spend; nodes verify them offline."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import jwt
from annotated_types import Ge, Le, MaxLen, MinLen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gpunode_protocol.errors import ErrorCode, MalformedMessage, job_error
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Count, Name, NetworkId, PeerIdField, UnixSeconds

MAX_GRANT_LIFETIME_S = 3600
MAX_NAMED_NODES = 16
CLOCK_LEEWAY_S = 60
"""Clocks may differ by this much when a grant's times are checked."""
_REMEMBERED_GRANTS = 256
"""A client presents one grant with many jobs; reading and verifying a token takes 0.4 ms."""
_ALGORITHM = "EdDSA"
_TYPE = "gpunode-grant+jwt"


class Confirmation(WireModel):
    """The key that the grant is bound to (RFC 7800's ``cnf``): only this peer may use it."""

    peer: PeerIdField


class Cap(WireModel):
    """What may be spent, in micro-credits: ``open`` at any nodes together, or ``nodes`` at each named one."""

    open: Count | None = None
    nodes: dict[PeerIdField, Count] | None = None


class Grant(WireModel):
    """The claims.

    iss, aud: ``gpunode:{network}``. sub: random, no account. jti: what vouchers name. priority: 0 to 9. jobs: in
    flight at once. price: version of the price table.
    """

    iss: Annotated[str, MinLen(1), MaxLen(64)]
    aud: Annotated[str, MinLen(1), MaxLen(64)]
    sub: Annotated[str, MinLen(1), MaxLen(64)]
    jti: Name
    iat: UnixSeconds
    exp: UnixSeconds
    cnf: Confirmation
    tasks: Annotated[tuple[str, ...], MinLen(1), MaxLen(16)]
    priority: Annotated[int, Ge(0), Le(9)] = 0
    jobs: Annotated[int, Ge(1), Le(10_000)]
    price: Count
    cap: Cap

    def cap_at_microcredits(self, node: PeerId) -> int:
        """Return what may be spent at a node, in micro-credits; 0 where the grant does not name it."""
        if self.cap.nodes is not None:
            return self.cap.nodes.get(node, 0)
        return self.cap.open or 0

    @property
    def reserved_microcredits(self) -> int:
        """What the tracker set aside for this grant."""
        return sum(self.cap.nodes.values()) if self.cap.nodes is not None else self.cap.open or 0


@dataclass(frozen=True)
class GrantChecks:
    """What a grant is checked against: network id, who presents it to whom, for what, and when (Unix seconds)."""

    network: NetworkId
    client: PeerId
    node: PeerId
    task: Task
    now: float


def audience(network: str) -> str:
    """Return the ``iss`` and ``aud`` of a network's grants."""
    return f"gpunode:{network}"


def issue_grant(grant: Grant, *, signer: Identity, kid: str) -> str:
    """Return the signed token of a grant."""
    key = Ed25519PrivateKey.from_private_bytes(signer.seed)
    claims = grant.model_dump(exclude_none=True)
    claims["tasks"] = list(grant.tasks)
    return jwt.encode(claims, key, algorithm=_ALGORITHM, headers={"kid": kid, "typ": _TYPE})


@lru_cache(maxsize=_REMEMBERED_GRANTS)
def grant_key_id(token: str) -> str:
    """Return the ``kid`` that a token names, unverified.

    Raises:
        JobError: ``grant_invalid``.
    """
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise job_error(ErrorCode.GRANT_INVALID, "The grant is not a readable token.") from error
    kid = header.get("kid")
    if header.get("alg") != _ALGORITHM or header.get("typ") != _TYPE or not isinstance(kid, str):
        raise job_error(ErrorCode.GRANT_INVALID, "The token is not a gpunode grant.")
    return kid


def read_grant(token: str, *, public_key: bytes, network: str, now: float) -> Grant:
    """Check a grant's signature, issuer and times.

    Args:
        public_key: 32 bytes of the tracker key that ``grant_key_id`` names.
        now: Unix seconds.

    Raises:
        JobError: ``grant_invalid`` or ``grant_expired``.
    """
    grant = _verified_grant(token, public_key, network)
    if grant.exp < now:
        raise job_error(ErrorCode.GRANT_EXPIRED, "The grant has expired; ask the tracker for a new one.")
    if grant.iat > now + CLOCK_LEEWAY_S or grant.exp - grant.iat > MAX_GRANT_LIFETIME_S:
        raise job_error(ErrorCode.GRANT_INVALID, "The grant's times are not plausible; check the clocks.")
    if (grant.cap.open is None) == (grant.cap.nodes is None) or len(grant.cap.nodes or ()) > MAX_NAMED_NODES:
        raise job_error(ErrorCode.GRANT_INVALID, "The grant's cap is neither open nor for at most 16 named nodes.")
    return grant


@lru_cache(maxsize=_REMEMBERED_GRANTS)
def _verified_grant(token: str, public_key: bytes, network: str) -> Grant:
    """Return the grant of a token whose signature and issuer verify; its times are still to be checked."""
    try:
        claims = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(public_key),
            algorithms=[_ALGORITHM],
            audience=audience(network),
            issuer=audience(network),
            # times are checked against the clock that was passed in
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "require": ["iss", "aud", "exp", "jti"],
            },
        )
        claims["tasks"] = tuple(claims.get("tasks") or ())
        return Grant.from_map(claims)
    except (jwt.PyJWTError, MalformedMessage, TypeError, ValueError) as error:
        raise job_error(ErrorCode.GRANT_INVALID, f"The grant does not verify: {error}") from error


def check_grant(grant: Grant, checks: GrantChecks) -> None:
    """Check that a verified grant covers a request.

    Raises:
        JobError: ``grant_invalid`` (another client's, or this node is not named) or ``task_not_allowed``.
    """
    if grant.cnf.peer != checks.client:
        raise job_error(ErrorCode.GRANT_INVALID, "The grant belongs to another client.")
    if grant.cap.nodes is not None and checks.node not in grant.cap.nodes:
        raise job_error(ErrorCode.GRANT_INVALID, "The grant does not name this node.")
    if checks.task not in grant.tasks:
        raise job_error(ErrorCode.TASK_NOT_ALLOWED, f"The grant does not cover the task {checks.task}.")
