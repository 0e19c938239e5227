"""Bringing model files here and finding them again. Only the parent downloads; engine processes never do."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gpunode_engines.catalogue import CatalogueEntry, HubSource, PackageSource, ServerSource
from gpunode_engines.disk_room import check_room, free_bytes
from gpunode_engines.errors import DigestMismatch, DownloadFailed, ModelNotPulled, UnreadableWeights
from gpunode_engines.file_digests import compute_digest
from gpunode_engines.hub_download import PARTIAL_FOLDER, partial_path
from gpunode_engines.model_lock import FILE_NAME_PATTERN, LockedFile, LockedModel, ModelLock
from gpunode_engines.packaged_files import is_wanted, packaged_files, packaged_root


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that a source offers. sha256: hex, None where the source does not say."""

    name: str
    size_bytes: int | None
    sha256: str | None


class Remote(Protocol):
    """Where weights come from: a model hub or a folder."""

    def knows(self, revision: str) -> bool:
        """Whether this kind of source can have a revision that was recorded."""
        ...

    def files(self, repo: str, revision: str | None) -> tuple[str, Sequence[RemoteFile]]:
        """Return the revision (the newest if None is asked for) and its files. Raises DownloadFailed."""
        ...

    def download(self, repo: str, revision: str, name: str, folder: Path) -> Path:
        """Place a file in ``folder`` and return its path; nobody else does meanwhile. Raises DownloadFailed."""
        ...


def root_of(entry: CatalogueEntry, models_dir: Path) -> Path:
    """Return the folder to which the names of a model's files are relative.

    Raises:
        ModelNotPulled: its package is not installed.
    """
    return packaged_root(entry.source) if isinstance(entry.source, PackageSource) else models_dir / entry.stored_as


def locate(entry: CatalogueEntry, models_dir: Path) -> tuple[Path, ...]:
    """Return the paths of a model's files, in order.

    Raises:
        ModelNotPulled: they are not here, or not whole. UnreadableWeights: a link leads out of the model's folder.
    """
    if isinstance(entry.source, PackageSource):
        return packaged_files(entry.source)
    if isinstance(entry.source, ServerSource):
        return ()
    locked = ModelLock(models_dir).get(entry.stored_as)
    if locked is None:
        raise ModelNotPulled(f"{entry.name} is not here yet. Fetch it with: gpunode models pull {entry.name}")
    folder = models_dir / entry.stored_as
    paths = tuple(folder / file.name for file in locked.files)
    for path, file in zip(paths, locked.files, strict=True):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UnreadableWeights(f"{path} is a link out of the model's folder; it is not followed. Delete it.")
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            raise ModelNotPulled(f"{path} is missing or incomplete. Repair it with: gpunode models pull {entry.name}")
    return paths


def pull_lock_path(entry: CatalogueEntry, models_dir: Path) -> Path:
    """Return the file that is locked by whoever changes a model's files."""
    return models_dir / f".{entry.stored_as}.pull.lock"


def pull(entry: CatalogueEntry, models_dir: Path, remote: Remote) -> tuple[Path, ...]:
    """Download a model, or what is missing of it, and verify every file.

    The first pull records revision and digests; later ones fetch that revision and must find those digests. One pull
    of a model at a time: others, of other processes too, wait for it and find its files.

    Raises:
        DownloadFailed: the source cannot be reached or has no such files. NotEnoughDisk: before anything is
            downloaded, of a first pull as of a repair. DigestMismatch: other bytes than expected.
    """
    if isinstance(entry.source, PackageSource):
        return packaged_files(entry.source)
    if isinstance(entry.source, ServerSource):
        return ()
    from filelock import FileLock  # noqa: PLC0415 -- an optional dependency

    lock = ModelLock(models_dir)
    models_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(pull_lock_path(entry, models_dir)):
        locked = lock.get(entry.stored_as)
        if locked is None:
            locked = _first_pull(entry.stored_as, entry.source, models_dir, remote)
            lock.put(entry.stored_as, locked)
        else:
            _repair(entry, locked, models_dir, remote)
        shutil.rmtree(models_dir / entry.stored_as / PARTIAL_FOLDER, ignore_errors=True)  # of other revisions
    return locate(entry, models_dir)


def _first_pull(name: str, source: HubSource, models_dir: Path, remote: Remote) -> LockedModel:
    revision, offered = remote.files(source.repo, None)
    wanted = sorted((file for file in offered if is_wanted(file.name, source.patterns)), key=lambda file: file.name)
    if not wanted:
        raise DownloadFailed(
            f"{source.repo} has no file {' or '.join(source.patterns)}; the repository may have changed."
        )
    folder = models_dir / name
    for file in wanted:
        _check_name(file.name)
    missing = sum(_missing_bytes(file, folder, revision) for file in wanted)
    check_room(name, missing, models_dir, free_bytes(models_dir))
    files = tuple(_kept(file, folder) or _fetch(source.repo, revision, file, folder, remote) for file in wanted)
    return LockedModel(repo=source.repo, revision=revision, files=files)


def _repair(entry: CatalogueEntry, locked: LockedModel, models_dir: Path, remote: Remote) -> None:
    """Bring missing and damaged files again, of the revision and with the digests that were recorded."""
    folder = models_dir / entry.stored_as
    broken = [
        RemoteFile(file.name, file.size_bytes, file.sha256)
        for file in locked.files
        if not (folder / file.name).is_file() or compute_digest(folder / file.name).hex() != file.sha256
    ]
    if broken and not remote.knows(locked.revision):
        raise DownloadFailed(
            f"{entry.name} was pulled from a folder, which alone has its files, and {broken[0].name} is missing or "
            "damaged. Set GPUNODE_MODEL_MIRROR to that folder and pull again, or start anew from a hub: gpunode models "
            f"remove {entry.name} && gpunode models pull {entry.name}"
        )
    missing = sum(_missing_bytes(file, folder, locked.revision) for file in broken)
    check_room(entry.stored_as, missing, models_dir, free_bytes(models_dir))
    for file in broken:
        (folder / file.name).unlink(missing_ok=True)
        _fetch(locked.repo, locked.revision, file, folder, remote)


def _check_name(name: str) -> None:
    """Refuse names that lead out of the model's folder, or could not be recorded. Raises DownloadFailed."""
    if re.fullmatch(FILE_NAME_PATTERN, name) is None:
        raise DownloadFailed(
            f"The source names a file {name!r}, which is no name of a model file (letters, digits, '.', '_' and '-' in "
            "folders of such names). Do not trust it, or rename the file there."
        )


def _kept(file: RemoteFile, folder: Path) -> LockedFile | None:
    """Return a file that an interrupted pull has brought whole."""
    path = folder / file.name
    if file.sha256 is None or not path.is_file() or compute_digest(path).hex() != file.sha256:
        return None
    return LockedFile(name=file.name, size_bytes=path.stat().st_size, sha256=file.sha256)


def _missing_bytes(file: RemoteFile, folder: Path, revision: str) -> int:
    """Return how much room a file will still take; files without a stated size count as nothing.

    What is here of it is gone on with, or gives its room back before more comes.
    """
    places = (folder / file.name, partial_path(folder, revision, file.name))
    here = max((path.stat().st_size for path in places if path.is_file()), default=0)
    return max(0, (file.size_bytes or 0) - here)


def _fetch(repo: str, revision: str, file: RemoteFile, folder: Path, remote: Remote) -> LockedFile:
    """Download one file; what does not match is deleted again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = remote.download(repo, revision, file.name, folder)
    digest = compute_digest(path).hex()
    if file.sha256 is not None and digest != file.sha256:
        path.unlink()
        raise DigestMismatch(
            f"{file.name} from {repo} has the SHA-256 {digest}, expected was {file.sha256}. It was deleted; "
            "pull again, and if it happens again, do not trust this source."
        )
    if file.size_bytes not in {None, size := path.stat().st_size}:
        path.unlink()
        raise DownloadFailed(
            f"{file.name} from {repo} has {size} bytes, announced were {file.size_bytes}. It was deleted; pull again."
        )
    return LockedFile(name=file.name, size_bytes=size, sha256=digest)
