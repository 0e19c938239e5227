"""Sealing what clients entrust to the queue: AES-256-GCM, with keys from a file beside the database.

Whoever gets hold of the database alone, or of a copy of it, reads no prompt and no answer.

A sealed value is ``version (1 byte, 1) ‖ key id (4 bytes) ‖ nonce (12 bytes) ‖ ciphertext and tag``. Its context, which
is table, column and row, is authenticated, so that a value cannot be moved to another place.
"""

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gpunode_tracker.errors import KeysUnusable

_VERSION: Final = b"\x01"
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_HEADER_BYTES: Final = len(_VERSION) + _ID_BYTES + _NONCE_BYTES


@dataclass(frozen=True)
class SealingKey:
    """One key: 4 bytes of id, 32 of key."""

    id: bytes
    secret: bytes


class Sealer:
    """Seals with the first of some keys and opens with all of them.

    Args:
        keys: at least one, the newest first.
    """

    def __init__(self, keys: tuple[SealingKey, ...]) -> None:
        self.keys = keys
        self._ciphers = {key.id: AESGCM(key.secret) for key in keys}

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the keys of a file, which is made with one new key (mode 0600) if it is not there.

        Raises:
            KeysUnusable: the file cannot be read, or is not one of these.
        """
        try:
            if not path.exists():
                write_keys(path, (new_key(),))
            return cls(_read_keys(path))
        except OSError as error:
            raise KeysUnusable(f"The sealing keys in {path} cannot be used: {error.strerror or error}.") from error

    def seal(self, data: bytes, context: str) -> bytes:
        """Return the data sealed for one place, such as ``jobs.params/<id>``."""
        key, nonce = self.keys[0], secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + key.id + nonce + self._ciphers[key.id].encrypt(nonce, data, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed for this place.

        Raises:
            KeysUnusable: the key is not in the file (any more), or the value was changed or belongs elsewhere.
        """
        key_id = sealed[1 : 1 + _ID_BYTES]
        cipher = self._ciphers.get(key_id) if sealed[:1] == _VERSION else None
        if cipher is None:
            raise KeysUnusable(
                f"A value in the database was sealed with key {key_id.hex()}, which the sealing keys' file lacks. "
                "Put the file back that belongs to this database."
            )
        nonce = sealed[1 + _ID_BYTES : _HEADER_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES:], context.encode())
        except InvalidTag as error:
            raise KeysUnusable(f"The sealed value of {context} was changed, or belongs elsewhere.") from error


def new_key() -> SealingKey:
    """Return a fresh key."""
    return SealingKey(secrets.token_bytes(_ID_BYTES), AESGCM.generate_key(8 * _KEY_BYTES))


def write_keys(path: Path, keys: tuple[SealingKey, ...]) -> None:
    """Write the keys, newest first; the file is replaced whole, so that a crash loses none."""
    content = {"keys": [{"id": key.id.hex(), "key": base64.b64encode(key.secret).decode()} for key in keys]}
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _read_keys(path: Path) -> tuple[SealingKey, ...]:
    try:
        entries = json.loads(path.read_text())["keys"]
        keys = tuple(SealingKey(bytes.fromhex(entry["id"]), base64.b64decode(entry["key"])) for entry in entries)
    except (ValueError, KeyError, TypeError) as error:
        raise KeysUnusable(f"{path} is not a file of sealing keys. Put the right one back.") from error
    if not keys or any(len(key.id) != _ID_BYTES or len(key.secret) != _KEY_BYTES for key in keys):
        raise KeysUnusable(f"{path} has no usable sealing key. Put the right file back.")
    return keys
