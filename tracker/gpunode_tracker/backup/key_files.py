"""The key files of a data folder, which belong to its database."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.keys import ROOT_KEY_FILE, SIGNING_FOLDER
from gpunode_tracker.mesh_peer import MESH_KEY_FILE
from gpunode_tracker.network_keys import DISPATCH_KEY_FILE
from gpunode_tracker.sealing_key_file import SEALING_KEYS_FILE

_FOLDER: Final = "keys/"
_SINGLE_FILES: Final = (SEALING_KEYS_FILE, DISPATCH_KEY_FILE, MESH_KEY_FILE)


def read_key_files(data_dir: Path, *, with_root_key: bool) -> dict[str, bytes]:
    """Return the key files by their names in an archive. Those that are not there are left out.

    Raises:
        KeysUnusable: one cannot be read.
    """
    names = [*_SINGLE_FILES, *([ROOT_KEY_FILE] if with_root_key else [])]
    names += sorted(f"{SIGNING_FOLDER}/{path.name}" for path in (data_dir / SIGNING_FOLDER).glob("*.key"))
    try:
        return {f"{_FOLDER}{name}": (data_dir / name).read_bytes() for name in names if (data_dir / name).exists()}
    except OSError as error:
        raise KeysUnusable(f"A key file in {data_dir} cannot be read: {error.strerror}.") from error


def is_key_file(member: str) -> bool:
    """Return whether a member of an archive is a key file."""
    return member.startswith(_FOLDER)


def has_root_key(files: Mapping[str, bytes]) -> bool:
    """Return whether the root key is among them."""
    return f"{_FOLDER}{ROOT_KEY_FILE}" in files


def write_key_file(data_dir: Path, member: str, data: bytes) -> Path:
    """Write a key file of an archive, which must not be there yet, for its owner only; return its path."""
    path = data_dir / member.removeprefix(_FOLDER)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path
