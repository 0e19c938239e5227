"""Private files of the node: written whole or not at all, readable by their owner only."""

import json
import os
from pathlib import Path
from typing import Any

from gpunode_node.errors import StateUnwritable

_FILE_MODE = 0o600
_MAX_FILE_BYTES = 4 * 1024 * 1024


def read_json(path: Path) -> Any:
    """Return a file's content, None if it is missing, damaged or absurdly large."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(_MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a file with mode 0600; it appears complete, in place of the old one, or not at all.

    Raises:
        StateUnwritable: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE_MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StateUnwritable(
            f"{path} cannot be written: {error.strerror}. Free some disk space, or check the folder's permissions."
        ) from error
