"""What the audit log tells: who did what to whom. Its entries hold no secrets."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gpunode_protocol.secret_texts import without_secrets


class Action(StrEnum):
    """What is noted."""

    ACCOUNT_CREATED = "account_created"
    CREDITS_ISSUED = "credits_issued"
    KEY_CREATED = "key_created"
    KEY_ROTATED = "key_rotated"
    KEY_REVOKED = "key_revoked"
    BANNED = "banned"
    BAN_LIFTED = "ban_lifted"
    PRICES_PUBLISHED = "prices_published"
    GRANT_REVOKED = "grant_revoked"
    NODE_REVOKED = "node_revoked"
    NODE_REGISTERED = "node_registered"
    NODE_LINKED = "node_linked"
    NODE_LEFT = "node_left"
    WORKER_REGISTERED = "worker_registered"
    WORKER_TOKEN_ROTATED = "worker_token_rotated"  # noqa: S105 -- a name, no token
    WORKER_MAINTENANCE = "worker_maintenance"
    WORKER_DEREGISTERED = "worker_deregistered"
    SIGNING_KEY_ROTATED = "signing_key_rotated"
    SEALING_KEY_PREPARED = "sealing_key_prepared"
    SEALING_KEY_ROTATED = "sealing_key_rotated"
    SEALING_KEYS_DROPPED = "sealing_keys_dropped"
    KEYS_ADOPTED = "keys_adopted"
    BACKED_UP = "backed_up"
    RESTORED = "restored"
    ADMIN_REFUSED = "admin_refused"
    """Somebody with a key that does not do for it, or with none that is known, asked for administration."""


@dataclass(frozen=True)
class Actor:
    """Who acts. name: ``key:<id>``, ``node:<peer>``, ``worker:<id>``, ``operator``, ``anybody`` or ``unknown``.

    address: where the request came from; empty without one.
    """

    name: str
    address: str = ""


OPERATOR: Final = Actor("operator")
"""Whoever may write to the tracker's data folder, by the commands."""


@dataclass(frozen=True)
class AuditRecord:
    """One entry. at: Unix seconds."""

    id: int
    at: int
    actor: str
    address: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def detail_without_secrets(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return a detail, which is flat, without what looks like a key or token: people paste them into reasons."""
    return {name: without_secrets(value) if isinstance(value, str) else value for name, value in detail.items()}
