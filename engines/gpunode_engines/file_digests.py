"""SHA-256 of model files, remembered by path, size and modification time."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

CACHE_NAME = "file-digests.json"

_SHA256 = re.compile("[0-9a-f]{64}")


def weights_digest(digests: Sequence[bytes]) -> bytes:
    """Return the digest of a model from those of its files in order: its own for one file, else SHA-256 of all."""
    return digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()


class FileDigests:
    """Digest cache in a small JSON file; safe against concurrent writers (the last one wins, nothing is torn)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CACHE_NAME

    def digest(self, path: Path) -> bytes:
        """Return the SHA-256 of a file, 32 bytes; read again only when its size or time has changed.

        Raises:
            OSError: the file cannot be read.
        """
        known = self.known(path)
        if known is not None:
            return known
        key = _key_of(path)
        digest = compute_digest(path)
        try:
            self._write(self._read() | {key: digest.hex()})
        except OSError as error:
            logger.warning(
                "the digest of %s is not remembered, so it will be read again: %s",
                path.name,
                error.strerror,
                extra={"event": "digest_not_remembered"},
            )
        return digest

    def known(self, path: Path) -> bytes | None:
        """Return the SHA-256 of a file if it is remembered; reads nothing of the file.

        Raises:
            OSError: there is no such file.
        """
        known = self._read().get(_key_of(path))
        return None if known is None else bytes.fromhex(known)

    def _read(self) -> dict[str, str]:
        """Return the cache; a missing or damaged one is empty."""
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {
            str(key): value for key, value in content.items() if isinstance(value, str) and _SHA256.fullmatch(value)
        }

    def _write(self, content: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(content, indent=1, sort_keys=True))
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)


def _key_of(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"


def compute_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file, 32 bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
