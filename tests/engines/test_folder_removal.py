import os
from pathlib import Path

import pytest
from gpunode_engines import folder_removal
from gpunode_engines.folder_removal import remove_by_name, remove_folder

DEPTH = 1_500
"""Beyond Python's stack and, as most machines are set, a process's descriptors."""


def test_a_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Files, folders, and folders with the same names in them."""
    top = tmp_path / "top"
    (top / "a" / "a" / "a").mkdir(parents=True)
    (top / "b").mkdir()
    (top / "a" / "file").write_text("x")
    (top / "a" / "a" / "file").write_text("x")
    remove_folder(top)
    assert list(tmp_path.iterdir()) == []


def test_depth_does_not_matter(tmp_path: Path) -> None:
    """Neither for the stack, nor for descriptors, nor for paths."""
    top = tmp_path / "top"
    top.mkdir()
    folder = os.open(top, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("x" * 200, dir_fd=folder)
        deeper = os.open("x" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    remove_folder(top)
    assert not top.exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither inside of the folder nor in place of it."""
    top, other = tmp_path / "top", tmp_path / "other"
    top.mkdir()
    other.mkdir()
    (other / "file").write_text("x")
    (top / "link").symlink_to(other)
    remove_folder(top)
    top.symlink_to(other)
    remove_folder(top)
    assert (other / "file").read_text() == "x"


def test_modes_do_not_matter(tmp_path: Path) -> None:
    """A process may make folders that their owner cannot read, unless that is root."""
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b").chmod(0o000)
    (top / "a").chmod(0o300)
    remove_folder(top)
    assert not top.exists()


def test_a_folder_that_is_gone_is_fine(tmp_path: Path) -> None:
    """Whoever cleans up need not know who else did."""
    remove_folder(tmp_path / "nothing")


def test_systems_whose_folders_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All goes there too, also what is read-only, and links are not followed."""
    monkeypatch.setattr(folder_removal, "_HAS_DESCRIPTORS", False)
    top, other = tmp_path / "top", tmp_path / "other"
    (top / "a" / "b").mkdir(parents=True)
    other.mkdir()
    (other / "file").write_text("x")
    (top / "link").symlink_to(other)
    (top / "a" / "b" / "file").touch(mode=0o400)
    remove_folder(top)
    assert list(tmp_path.iterdir()) == [other]
    assert (other / "file").exists()
    remove_folder(top)


def test_what_is_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows does not remove what somebody has open; the rest goes."""
    (tmp_path / "used").touch()
    (tmp_path / "free").touch()
    unlink = os.unlink

    def refuse(path: str, **where: int) -> None:
        if os.fspath(path).endswith("used"):
            raise PermissionError(path)
        unlink(path, **where)

    monkeypatch.setattr(os, "unlink", refuse)
    remove_by_name(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["used"]
