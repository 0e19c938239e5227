"""The tracker's signing keys, signed by the offline root key that clients and nodes pin at first start."""

import hashlib
from typing import ClassVar

from gpunode_protocol.signing import SignedBody, WireModel
from gpunode_protocol.validation import Count, Digest, Name, NetworkId, UnixSeconds

KEY_LEAD_TIME_S = 2 * 3600
"""A new key is published this long before its first use, so that every node has it by then."""


def network_id_of(root_public_key: bytes) -> str:
    """Return the network id: the first 20 bytes of SHA-256 of the root key, 40 hex digits."""
    return hashlib.sha256(root_public_key).hexdigest()[:40]


def key_id_of(public_key: bytes) -> str:
    """Return the ``kid`` of a tracker key: the first 8 bytes of its SHA-256, 16 hex digits."""
    return hashlib.sha256(public_key).hexdigest()[:16]


class TrackerKey(WireModel):
    """One signing key of the tracker.

    not_before: first instant at which it may sign. retired_at: instant from which it signs nothing new;
    None while in use. Retired keys stay listed, so that old ledger heads can be checked.
    """

    kid: Name
    public_key: Digest
    not_before: UnixSeconds
    retired_at: UnixSeconds | None = None


class KeySet(SignedBody):
    """All tracker keys, past and present, signed by the root key. A larger ``sequence`` replaces a smaller one."""

    signature_type: ClassVar[str] = "keyset"

    network: NetworkId
    sequence: Count
    issued_at: UnixSeconds
    keys: tuple[TrackerKey, ...]
