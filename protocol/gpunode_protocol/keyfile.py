"""The identity file: libp2p's private key protobuf, readable by its owner only, read by p2pd itself."""

import os
import stat
import sys
from pathlib import Path

from gpunode_protocol.errors import GpunodeError, MalformedMessage
from gpunode_protocol.identity import Identity

_FILE_MODE = 0o600
_FOREIGN_ACCESS = stat.S_IRWXG | stat.S_IRWXO
_MAX_FILE_BYTES = 4096


class IdentityFileError(GpunodeError):
    """The identity file cannot be used. It was left as it is."""


def load_or_create_identity(path: Path) -> Identity:
    """Return the identity in ``path``; if there is no such file, make a key and write it with mode 0600.

    The new file appears complete or not at all, and never in place of another one.

    Raises:
        IdentityFileError: others may read the file, it is malformed, or it cannot be written. It stays as it is.
    """
    try:
        return load_identity(path)
    except FileNotFoundError:
        pass
    identity = Identity.generate()
    try:
        write_identity(path, identity)
    except FileExistsError:  # another process was first: its key counts
        return load_identity(path)
    except OSError as error:
        raise IdentityFileError(f"The identity file {path} cannot be written: {error.strerror}.") from error
    return identity


def load_identity(path: Path) -> Identity:
    """Read an identity file.

    Raises:
        FileNotFoundError: there is none.
        IdentityFileError: others may read it, or it is not an ed25519 key in libp2p's format.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IdentityFileError(f"The identity file {path} cannot be read: {error.strerror}.") from error
    # Windows has no such bits: there a file in the user's own folder is closed to others by the folder's rights
    if mode & _FOREIGN_ACCESS and sys.platform != "win32":
        raise IdentityFileError(
            f"The identity file {path} may be read by others (mode {stat.S_IMODE(mode):04o}). "
            f"It holds your node's secret key: run `chmod 600 {path}`, and start again."
        )
    try:
        return Identity.from_libp2p(data)
    except MalformedMessage as error:
        raise IdentityFileError(
            f"{path} is not an identity file: {error} Nothing was changed. Restore it from a backup, "
            "or move it away to start with a new identity (earnings of the old one need the old key)."
        ) from error


def write_identity(path: Path, identity: Identity) -> None:
    """Write an identity to a file that must not exist, mode 0600, whole or not at all.

    Raises:
        FileExistsError: there is one. OSError: it cannot be written.
    """
    _write_new(path, identity.to_libp2p())


def _write_new(path: Path, data: bytes) -> None:
    """Write under a temporary name first, then link to the file's own."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if sys.platform != "win32":
                os.fchmod(file.fileno(), _FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails if the name is taken, which replacing would not
    finally:
        draft.unlink()
