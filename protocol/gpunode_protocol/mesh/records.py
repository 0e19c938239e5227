"""Records of the DHT: what is announced, what a look-up finds, and who decides whether a record is valid."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.errors import RecordRejected

MAX_KEY_BYTES = 256
"""UTF-8 bytes of a key's text."""

MAX_VALUE_BYTES = 4096
"""Bytes of a stored value, the key's text included (facts: hivemind itself has no limit)."""

MAX_RECORD_AHEAD_S = 180
"""Seconds after now at which a record may expire at the latest."""

MAX_RECORDS_PER_KEY = 64
"""Entries of one key that a node stores, sends and accepts."""

KEY_ID_BYTES = 20
"""hivemind's ids have 160 bits."""

_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DhtRecord:
    """What a node announces.

    key: text of the DHT key. subkey: the announcing peer. value: signed bytes, which the validator understands.
    expires_at: Unix seconds, as signed inside the value.
    """

    key: str
    subkey: PeerId
    value: bytes
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidRecord:
    """A record that a validator accepted.

    sequence: larger = newer. tombstone: the peer has left. content: whatever the validator decoded, for its caller.
    """

    peer_id: PeerId
    sequence: int
    expires_at: int
    value: bytes
    tombstone: bool = False
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecords:
    """What a look-up found.

    records: newest record of every peer, without tombstones. replicas_answered: nodes (this one included) whose
    entries were merged. dropped: refused entries, counted by reason.
    """

    key: str
    records: tuple[ValidRecord, ...]
    replicas_answered: int
    dropped: Mapping[str, int]


class RecordValidator(Protocol):
    """Decides on a single record; pure, called by every storing node and every reader."""

    def validate(self, key: str, subkey: str, value: bytes, expires_at: float, now: float) -> ValidRecord:
        """Return the record if it is acceptable.

        Args:
            key: text of the key that it is stored under; size and hash were checked by the mesh.
            subkey: peer id that it is stored under.
            value: as announced.
            expires_at: Unix seconds that the envelope claims; must equal what is signed.
            now: Unix seconds.

        Raises:
            RecordRejected: with the reason.
        """
        ...


def key_id_of(key: str) -> bytes:
    """Return the 20-byte DHT id of a key's text."""
    return hashlib.sha256(b"gpunode/1/dht-key\0" + key.encode()).digest()[:KEY_ID_BYTES]


def node_id_of(peer_id: str) -> bytes:
    """Return the 20-byte DHT id of a peer.

    It follows from the peer id, so that nobody can choose a place next to a key without searching for a key pair.
    """
    return hashlib.sha256(b"gpunode/1/dht-node\0" + peer_id.encode()).digest()[:KEY_ID_BYTES]


def pack_value(key: str, value: bytes) -> bytes:
    """Return the stored form of a value: 2-byte big-endian length of the key's text, the text, the value.

    The key's text travels with the value because the DHT itself carries only its hash, and validators need the text.

    Raises:
        RecordRejected: too large.
    """
    text = key.encode()
    packed = len(text).to_bytes(_LENGTH_BYTES, "big") + text + value
    if len(text) > MAX_KEY_BYTES or len(packed) > MAX_VALUE_BYTES:
        raise RecordRejected("too_large")
    return packed


def unpack_value(packed: bytes) -> tuple[str, bytes]:
    """Return key text and value of a stored form.

    Raises:
        RecordRejected: too large or malformed.
    """
    if len(packed) > MAX_VALUE_BYTES:
        raise RecordRejected("too_large")
    length = int.from_bytes(packed[:_LENGTH_BYTES], "big")
    text = packed[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(packed) < _LENGTH_BYTES + length or not 0 < length <= MAX_KEY_BYTES:
        raise RecordRejected("malformed")
    try:
        return text.decode(), packed[_LENGTH_BYTES + length :]
    except UnicodeDecodeError as error:
        raise RecordRejected("malformed") from error


def check_record(
    validator: RecordValidator, key_id: bytes, subkey: str, packed: bytes, expires_at: float, now: float
) -> ValidRecord:
    """Check one entry as it travels, first what costs nothing, then the validator's signatures.

    Raises:
        RecordRejected: with the reason.
    """
    key, value = unpack_value(packed)
    if key_id_of(key) != key_id:
        raise RecordRejected("wrong_key")
    if not expires_at > now:  # also refuses NaN
        raise RecordRejected("expired")
    if expires_at > now + MAX_RECORD_AHEAD_S:
        raise RecordRejected("expires_too_late")
    record = validator.validate(key, subkey, value, expires_at, now)
    if record.peer_id != subkey:
        raise RecordRejected("wrong_subkey")
    if record.expires_at != expires_at:
        raise RecordRejected("wrong_expiry")
    return record
