"""Digests of a job's request and answer: HMAC-SHA-256 under a salt that only client and node know.

Without the salt, a receipt's digest of a short answer such as "yes" could be guessed.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence

SALT_BYTES = 32

_TOKENS, _SEGMENT, _BLOB = b"\x01", b"\x02", b"\x03"


def salted_digest(salt: bytes, purpose: str, data: bytes) -> bytes:
    """Return HMAC-SHA-256(salt, purpose ‖ 0 ‖ data), 32 bytes. Purposes: ``request``, ``prompt``, ``blob``."""
    return hmac.digest(salt, purpose.encode() + b"\0" + data, hashlib.sha256)


class Transcript:
    """The running digest over everything that a node sent as output in one segment, in order.

    Records, all integers big-endian: ``01`` count(u32) ids(u32 each) length(u32) text; ``02`` start_ms(u64)
    end_ms(u64) length(u32) text; ``03`` id(u8) digest(32 bytes).
    """

    def __init__(self, salt: bytes) -> None:
        """Start an empty transcript under the job's salt (32 bytes)."""
        self._mac = hmac.new(salt, b"output\0", hashlib.sha256)

    def add_tokens(self, ids: Sequence[int], text: str) -> None:
        """Add one ``tokens`` frame: token ids (0 to 2^32 - 1) and the text that they completed."""
        data = text.encode()
        self._mac.update(_TOKENS + struct.pack(f">I{len(ids)}I", len(ids), *ids) + struct.pack(">I", len(data)) + data)

    def add_segment(self, start_ms: int, end_ms: int, text: str) -> None:
        """Add one ``segment`` frame of speech."""
        data = text.encode()
        self._mac.update(_SEGMENT + struct.pack(">QQI", start_ms, end_ms, len(data)) + data)

    def add_blob(self, blob_id: int, digest: bytes) -> None:
        """Add one whole output blob by its digest."""
        self._mac.update(_BLOB + bytes([blob_id]) + digest)

    def digest(self) -> bytes:
        """Return the digest so far, 32 bytes; more may be added after."""
        return self._mac.copy().digest()
