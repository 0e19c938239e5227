"""A validator of unsigned records, so that the mesh's own checks are tested alone."""

import time

from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh import DhtRecord, RecordRejected, ValidRecord

LIFETIME_S = 150


def plain_value(sequence: int, expires_at: int, *, tombstone: bool = False, note: str = "") -> bytes:
    """Return a value that PlainValidator accepts."""
    return f"{sequence}|{expires_at}|{int(tombstone)}|{note}".encode()


def plain_record(
    peer_id: PeerId, key: str, sequence: int = 1, *, lifetime_s: int = LIFETIME_S, tombstone: bool = False
) -> DhtRecord:
    """Return a record of a peer that expires ``lifetime_s`` seconds from now."""
    expires_at = int(time.time()) + lifetime_s
    value = plain_value(sequence, expires_at, tombstone=tombstone)
    return DhtRecord(key=key, subkey=peer_id, value=value, expires_at=expires_at)


class PlainValidator:
    """Believes what ``plain_value`` says; refuses the subkey "forbidden"."""

    def __init__(self) -> None:
        self.calls = 0

    def validate(self, key: str, subkey: str, value: bytes, expires_at: float, now: float) -> ValidRecord:  # noqa: ARG002 -- the protocol's signature
        """Return the record."""
        self.calls += 1
        if subkey == "forbidden":
            raise RecordRejected("forbidden")
        try:
            sequence, signed_expiry, tombstone, _note = value.decode().split("|")
            return ValidRecord(
                peer_id=PeerId(subkey),
                sequence=int(sequence),
                expires_at=int(signed_expiry),
                value=value,
                tombstone=tombstone == "1",
            )
        except ValueError as error:
            raise RecordRejected("malformed") from error
