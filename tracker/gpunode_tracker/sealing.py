"""Sealing what clients entrust to the queue: AES-256-GCM, with keys from a file beside the database.

Whoever gets hold of the database alone, or of a copy of it, reads no prompt and no answer.

A sealed value is ``version (1 byte, 1) ‖ key id (4 bytes) ‖ nonce (12 bytes) ‖ ciphertext and tag``. Its context, which
is table, column and row, is authenticated, so that a value cannot be moved to another place.
"""

import secrets
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing_key_file import KEY_ID_BYTES, KeyFile, SealingKey, new_key, read_key_file, write_key_file

_VERSION: Final = b"\x01"
KEY_ID_OFFSET: Final = len(_VERSION)
_NONCE_BYTES: Final = 12
HEADER_BYTES: Final = KEY_ID_OFFSET + KEY_ID_BYTES + _NONCE_BYTES
"""Names key and nonce, so no two values have the same."""


class Sealer:
    """Seals with the first of some keys and opens with all of them. One for a whole process, which a rotation changes.

    Args:
        keys: at least one, the newest first.
    """

    def __init__(self, keys: tuple[SealingKey, ...]) -> None:
        self.take_keys(keys)

    def take_keys(self, keys: tuple[SealingKey, ...]) -> None:
        """Use these keys from now on."""
        self.keys = keys
        self._ciphers = {key.id: AESGCM(key.secret) for key in keys}

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the keys of a file, which is made with one new key (mode 0600) if it is not there.

        Raises:
            KeysUnusable: the file cannot be read, or is not one of these.
        """
        if not path.exists():
            write_key_file(path, KeyFile((new_key(),)))
        return cls(read_key_file(path).keys)

    @property
    def has_old_keys(self) -> bool:
        """Whether values may be sealed with another key than new ones are."""
        return len(self.keys) > 1

    def seal(self, data: bytes, context: str) -> bytes:
        """Return the data sealed for one place, such as ``jobs.params/<id>``."""
        key, nonce = self.keys[0], secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + key.id + nonce + self._ciphers[key.id].encrypt(nonce, data, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed for this place.

        Raises:
            KeysUnusable: the key is not in the file (any more), or the value was changed or belongs elsewhere.
        """
        key_id = key_id_of(sealed)
        cipher = self._ciphers.get(key_id) if sealed[:1] == _VERSION else None
        if cipher is None:
            raise KeysUnusable(
                f"A value in the database was sealed with key {key_id.hex()}, which the sealing keys' file lacks. "
                "Put the file back that belongs to this database."
            )
        nonce = sealed[KEY_ID_OFFSET + KEY_ID_BYTES : HEADER_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[HEADER_BYTES:], context.encode())
        except InvalidTag as error:
            raise KeysUnusable(f"The sealed value of {context} was changed, or belongs elsewhere.") from error


def key_id_of(sealed: bytes) -> bytes:
    """Return the id of the key that a value was sealed with."""
    return sealed[KEY_ID_OFFSET : KEY_ID_OFFSET + KEY_ID_BYTES]
