"""Whether the files of pulled models are the ones that were pulled, as far as that can be said quickly."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunode_protocol.diagnosis import Finding, failure, ok

from gpunode_engines.file_digests import FileDigests, compute_digest
from gpunode_engines.model_lock import LockedFile, LockedModel, ModelLock

HASHED_BYTES = 1024**3
"""At most so much is hashed, about two seconds; beyond it, sizes have to do where no digest is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A pulled model. name: of its folder. problem: empty if nothing is wrong. unread: files whose size had to do."""

    name: str
    problem: str = ""
    unread: int = 0


def look_at_models(models_dir: Path, cache_dir: Path, *, hashed_bytes: int = HASHED_BYTES) -> list[ModelFiles]:
    """Compare every pulled model's files with the lock file.

    Raises:
        ModelError: the lock file is damaged.
    """
    digests = FileDigests(cache_dir)
    states = []
    for name, locked in ModelLock(models_dir).all().items():
        state, hashed = _look_at(name, locked, models_dir / name, digests, hashed_bytes)
        hashed_bytes -= hashed
        states.append(state)
    return states


def judge_models(states: list[ModelFiles], models_dir: Path, catalogue: Sequence[str]) -> Finding:
    """Judge what was found of the pulled models; ``catalogue``: the names by which models are pulled."""
    if not states:
        return ok(f"No model was pulled to {models_dir} yet; 'gpunode start' and 'gpunode models pull' do that.")
    broken = [state for state in states if state.problem]
    if broken:
        return failure(
            "; ".join(f"{state.name}: {state.problem}" for state in broken) + ".",
            " && ".join(f"gpunode models pull {_catalogue_name(state.name, catalogue)}" for state in broken),
        )
    unread = sum(state.unread for state in states)
    files = "file" if unread == 1 else "files"
    rest = f" Of {unread} large {files} only the size was compared." if unread else ""
    return ok(f"{', '.join(state.name for state in states)}: all files are as they were pulled.{rest}")


def _catalogue_name(folder: str, catalogue: Sequence[str]) -> str:
    """Return the model whose files are in a folder: named after it, perhaps with a suffix for other weights."""
    fitting = [name for name in catalogue if folder == name or folder.startswith(f"{name}-")]
    return max(fitting, key=len, default=folder)


def _look_at(
    name: str, locked: LockedModel, folder: Path, digests: FileDigests, hashed_bytes: int
) -> tuple[ModelFiles, int]:
    """Return a model's state, and the bytes that were hashed for it."""
    unread = hashed = 0
    for file in locked.files:
        path = folder / file.name
        problem = _size_problem(path, file)
        if problem:
            return ModelFiles(name=name, problem=problem), hashed
        digest = digests.known(path)
        if digest is None and hashed + file.size_bytes <= hashed_bytes:
            digest, hashed = compute_digest(path), hashed + file.size_bytes
        if digest is None:
            unread += 1
        elif digest.hex() != file.sha256:
            return ModelFiles(name=name, problem=f"{file.name} has other contents than were pulled"), hashed
    return ModelFiles(name=name, unread=unread), hashed


def _size_problem(path: Path, file: LockedFile) -> str:
    if not path.is_file():
        return f"{file.name} is missing"
    size = path.stat().st_size
    return "" if size == file.size_bytes else f"{file.name} has {size} bytes instead of {file.size_bytes}"
