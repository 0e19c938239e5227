"""The allow-list of one engine."""

import sys
from dataclasses import replace
from pathlib import Path

import gpunode_engines
import pytest
from gpunode_engines.confinement import SandboxPolicy
from gpunode_engines.file_access import around, file_access
from gpunode_engines.ipc import Load

from tests.engines.test_session import ORDER


def order_of(root: Path, *files: Path, private: tuple[Path, ...] = ()) -> Load:
    """Return an order to load these files."""
    policy = SandboxPolicy.of("auto", *private)
    return replace(ORDER, root=str(root), files=tuple(map(str, files)), sandbox=policy)


def test_libraries_and_scratch(tmp_path: Path) -> None:
    """Python and this package may be read, the scratch folder written, and a library path named in the environment."""
    library = tmp_path / "lib"
    library.mkdir()
    access = file_access(order_of(tmp_path / "model"), tmp_path, {"LD_LIBRARY_PATH": f"{library}:/nonexistent"})
    package = Path(gpunode_engines.__file__).parent
    for path in (package, Path(sys.prefix).resolve(), library):
        assert any(path.is_relative_to(program) for program in access.programs)
    assert access.scratch == tmp_path
    assert Path("/dev/null") in access.devices
    assert not any(path.name.startswith(("nvidia", "dri", "kfd")) for path in access.devices)
    assert all(path.exists() for path in (*access.programs, *access.readable, *access.devices))


def test_a_model_folder_and_links_out_of_it(tmp_path: Path) -> None:
    """Folders come whole; a file that is a link comes with its target."""
    root, elsewhere = tmp_path / "model", tmp_path / "blob"
    root.mkdir()
    elsewhere.touch()
    (root / "model.safetensors").symlink_to(elsewhere)
    access = file_access(order_of(root, root / "model.safetensors"), tmp_path, {})
    assert {root, elsewhere} <= set(access.readable)


def test_of_gguf_models_only_the_files_come(tmp_path: Path) -> None:
    """They may lie in a home folder; the parts of a split model are beside the first."""
    parts = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for path in (*parts, tmp_path / "identity.key"):
        path.touch()
    access = file_access(order_of(tmp_path, parts[0]), tmp_path / "scratch", {})
    assert [path for path in access.readable if path.is_relative_to(tmp_path)] == parts


@pytest.mark.parametrize("suffix", [".gguf", ""])
def test_a_link_is_no_part_of_a_gguf_model(tmp_path: Path, suffix: str) -> None:
    """Unless it leads to where the first part leads: in caches of hubs all files are links, to other names."""
    folder, cache = tmp_path / "model", tmp_path / "cache"
    for path in (folder, cache):
        path.mkdir()
    for number in (1, 2):
        (cache / f"{number}{suffix}").touch()
        (folder / f"m-{number}.gguf").symlink_to(cache / f"{number}{suffix}")
    for name in ("identity.key", "other.gguf"):
        (tmp_path / name).touch()
        (folder / f"{name}.gguf").symlink_to(tmp_path / name)
    access = file_access(order_of(folder, folder / "m-1.gguf"), tmp_path / "scratch", {})
    readable = [path for path in access.readable if path.is_relative_to(tmp_path)]
    assert readable == [cache / f"1{suffix}", cache / f"2{suffix}"]


def test_private_folders_are_left_out_of_wider_ones(tmp_path: Path) -> None:
    """Landlock cannot take back, so what is around a private folder is granted piece by piece."""
    key = tmp_path / "share" / "node"
    (key / "deep").mkdir(parents=True)
    (tmp_path / "share" / "models").mkdir()
    (tmp_path / "file").touch()
    assert set(around(tmp_path, [key])) == {tmp_path / "file", tmp_path / "share" / "models"}
    assert list(around(key, [key])) == []
    assert list(around(key / "deep", [key])) == [key / "deep"]  # a model inside of it was put there on purpose
    access = file_access(order_of(tmp_path, private=(key,)), tmp_path / "scratch", {})
    assert not any(key.is_relative_to(path) for path in access.readable)
