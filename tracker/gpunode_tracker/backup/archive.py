"""The file of a backup: a compressed tar, written whole or not at all, and all of it checked before it is used."""

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pydantic import ValidationError

from gpunode_tracker.backup.manifest import FORMAT, MANIFEST, MAX_MANIFEST_BYTES, FilePart, Manifest
from gpunode_tracker.backup.work_folder import work_folder
from gpunode_tracker.errors import BackupUnusable, InvalidRequest

_CHUNK_BYTES: Final = 1024 * 1024
_COMPRESSION: Final = 6


class ArchiveWriter:
    """Adds members; the manifest comes last. folder: for files that are to be added; goes when all is done."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        self._tar = tar
        self.folder = folder
        self.files: list[FilePart] = []

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a member of these bytes."""
        self._add(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, path: Path) -> None:
        """Add a member with a file's content."""
        with path.open("rb") as file:
            self._add(name, file, path.stat().st_size)

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest."""
        data = manifest.model_dump_json(indent=1).encode()
        self._tar.addfile(_header(MANIFEST, len(data), manifest.created_at), io.BytesIO(data))

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        reader = _HashingReader(file)
        self._tar.addfile(_header(name, size), reader)
        self.files.append(FilePart(name=name, size=size, sha256=reader.digest))


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """Yield the writer of an archive that appears under its name when it is complete, for its owner only.

    Raises:
        InvalidRequest: there is such a file already, or its folder cannot be written.
    """
    try:
        if path.exists():
            raise InvalidRequest(f"{path} exists already; nothing was written. Choose another name.")
        with work_folder(path.parent) as folder:
            draft = folder / "archive"
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                with (
                    gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_COMPRESSION) as packed,
                    tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
                ):
                    yield ArchiveWriter(tar, folder)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # fails if the name was taken meanwhile, which replacing would not
    except FileExistsError as error:
        raise InvalidRequest(f"{path} exists already; nothing was written. Choose another name.") from error
    except OSError as error:
        raise InvalidRequest(f"The backup cannot be written to {path}: {error.strerror or error}.") from error


class Archive:
    """An archive whose members have all been checked."""

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._file = file
        self.manifest = manifest

    def members(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield each member's name and content, in their order; a content must be read before the next one."""
        for info, content in _members(self._file):
            if info.name != MANIFEST:
                yield info.name, content


@contextmanager
def open_archive(path: Path, *, sha256: str | None = None) -> Iterator[Archive]:
    """Yield an archive, all of which was read and compared with its manifest.

    Args:
        sha256: of the whole file, as noted when it was made.

    Raises:
        BackupUnusable: it is damaged, was changed, or is none.
    """
    try:
        with path.open("rb") as file:
            if sha256 is not None and _digest(file) != sha256.strip().lower():
                raise BackupUnusable(f"{path} is not the file whose SHA-256 was given: it was changed or mixed up.")
            yield Archive(file, _checked(path, file))
    except FileNotFoundError as error:
        raise BackupUnusable(f"There is no backup {path}.") from error


def _checked(path: Path, file: IO[bytes]) -> Manifest:
    """Return the manifest if every member is as it says."""
    try:
        found, manifest = _digests(file)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:  # ValidationError is a ValueError
        what = "its manifest cannot be read" if isinstance(error, ValidationError) else f"{error}"
        raise BackupUnusable(f"{path} is damaged, or is no backup of a tracker ({what}).") from error
    if manifest is None:
        raise BackupUnusable(f"{path} has no manifest: it is damaged, or is no backup of a tracker.")
    if manifest.format != FORMAT:
        raise BackupUnusable(f"{path} was made by gpunode {manifest.made_by}, whose format this version cannot read.")
    expected = {part.name: part for part in manifest.files}
    changed = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if changed or len(expected) != len(manifest.files):
        raise BackupUnusable(
            f"{path} was changed after it was made: {', '.join(changed[:5])} differ from the manifest."
        )
    missing = [part.name for part in manifest.tables if part.member not in expected]
    if missing:
        raise BackupUnusable(f"{path} lacks tables that its manifest names: {', '.join(missing[:5])}.")
    return manifest


def _digests(file: IO[bytes]) -> tuple[dict[str, FilePart], Manifest | None]:
    found: dict[str, FilePart] = {}
    manifest = None
    for info, content in _members(file):
        if info.name in found or manifest is not None:
            raise ValueError(f"{info.name} is out of place")
        if info.name == MANIFEST:
            manifest = Manifest.model_validate_json(content.read(MAX_MANIFEST_BYTES))
        else:
            found[info.name] = FilePart(name=info.name, size=info.size, sha256=_digest(content))
    return found, manifest


def _members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    file.seek(0)
    with gzip.GzipFile(fileobj=file, mode="rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            if content is None:
                raise ValueError(f"{info.name} is no plain file")
            yield info, content
        assert tar.fileobj is not None  # noqa: S101 -- it is open
        while rest := tar.fileobj.read(_CHUNK_BYTES):  # to the end: the checksum of the whole stands there
            if rest.strip(b"\0"):
                raise ValueError("something follows its end")


class _HashingReader(io.RawIOBase):
    """Reads through, and knows the digest of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 in hex digits."""
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: IO[bytes]) -> str:
    """Return the digest of what is left to be read."""
    reader = _HashingReader(file)
    while reader.read(_CHUNK_BYTES):
        pass
    return reader.digest


def _header(name: str, size: int, mtime: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, mtime
    return info
