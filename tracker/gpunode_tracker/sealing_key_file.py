"""The file of sealing keys: one seals, older ones still open, and one may be prepared to seal next."""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gpunode_tracker.errors import InvalidRequest, KeysUnusable

SEALING_KEYS_FILE: Final = "sealing_keys.json"
KEY_ID_BYTES: Final = 4
KEY_BYTES: Final = 32
NOTICED_S: Final = 60
"""Running trackers look at the file every few seconds; after so long they all seal with the new key."""


@dataclass(frozen=True)
class SealingKey:
    """One key: 4 bytes of id, 32 of key."""

    id: bytes
    secret: bytes

    def __repr__(self) -> str:
        """Show its id only."""
        return f"SealingKey({self.id.hex()})"


@dataclass(frozen=True)
class KeyFile:
    """The content of the file.

    Args:
        keys: at least one; the first seals, the others open what was sealed with them.
        prepared: id of the one among the others that seals after the next rotation.
        rotated_at: when the first became so, Unix seconds; 0 = from the start.
    """

    keys: tuple[SealingKey, ...]
    prepared: bytes | None = None
    rotated_at: int = 0

    @property
    def old_keys(self) -> tuple[SealingKey, ...]:
        """Keys that seal nothing any more."""
        return tuple(key for key in self.keys[1:] if key.id != self.prepared)

    def with_prepared(self, key: SealingKey) -> "KeyFile":
        """Return the file with a key that may come into use next, so that it can be copied to other trackers first.

        Raises:
            InvalidRequest: one is prepared already.
        """
        if self.prepared is not None:
            raise InvalidRequest(
                f"The key {self.prepared.hex()} is prepared already. Copy the file to the other trackers of this "
                "database, then run: gpunode tracker rotate-sealing-key"
            )
        return KeyFile((*self.keys, key), key.id, self.rotated_at)

    def rotated(self, key: SealingKey, *, now: int) -> "KeyFile":
        """Return the file in which the prepared key seals, or ``key`` if none is prepared."""
        first = next((each for each in self.keys if each.id == self.prepared), key)
        others = tuple(each for each in self.keys if each.id != first.id)
        return KeyFile((first, *others), None, now)

    def without_old_keys(self) -> "KeyFile":
        """Return the file without the keys that seal nothing any more."""
        old = self.old_keys
        return KeyFile(tuple(key for key in self.keys if key not in old), self.prepared, self.rotated_at)


def new_key() -> SealingKey:
    """Return a fresh key."""
    return SealingKey(secrets.token_bytes(KEY_ID_BYTES), AESGCM.generate_key(8 * KEY_BYTES))


def write_key_file(path: Path, content: KeyFile) -> None:
    """Write the file, for its owner only; it is replaced whole, so that a crash loses no key."""
    value: dict[str, Any] = {
        "keys": [{"id": key.id.hex(), "key": base64.b64encode(key.secret).decode()} for key in content.keys],
        "rotated_at": content.rotated_at,
    }
    if content.prepared is not None:
        value["prepared"] = content.prepared.hex()
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, is to survive a power cut
    finally:
        os.close(folder)


def read_key_file(path: Path) -> KeyFile:
    """Read the file.

    Raises:
        KeysUnusable: it cannot be read, or is not one of these.
    """
    try:
        content = _parsed(json.loads(path.read_text()))
    except OSError as error:
        raise KeysUnusable(f"The sealing keys in {path} cannot be used: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeysUnusable(f"{path} is not a file of sealing keys. Put the right one back.") from error
    if not content.keys or any(len(key.id) != KEY_ID_BYTES or len(key.secret) != KEY_BYTES for key in content.keys):
        raise KeysUnusable(f"{path} has no usable sealing key. Put the right file back.")
    return content


def _parsed(value: Mapping[str, Any]) -> KeyFile:
    keys = tuple(SealingKey(bytes.fromhex(entry["id"]), base64.b64decode(entry["key"])) for entry in value["keys"])
    prepared = value.get("prepared")
    return KeyFile(keys, None if prepared is None else bytes.fromhex(prepared), int(value.get("rotated_at", 0)))
