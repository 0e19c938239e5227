import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gpunode_engines.limits import MAX_FILE_BYTES
from gpunode_engines.scratch_use import ScratchUse, scratch_use, size_on_disk

MIB = 1024**2
PID = os.getpid()
GONE = 2**22 + 1
"""Beyond the largest number that a process can have."""


def write(path: Path, size_bytes: int = MIB) -> Path:
    """Write a file and have the system find its blocks."""
    with path.open("wb") as file:
        file.write(b"x" * size_bytes)
        os.fsync(file.fileno())
    return path


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    """Whatever the process has open elsewhere."""
    with write(tmp_path / "elsewhere").open():
        (tmp_path / "scratch").mkdir()
        assert scratch_use(tmp_path / "scratch", PID, 10) == ScratchUse(size_bytes=0, files=0, hidden=False)


def test_files_count_with_the_room_they_take(tmp_path: Path) -> None:
    """In folders too; one that has two names counts once, and holes take no room."""
    (tmp_path / "folder").mkdir()
    os.link(write(tmp_path / "folder" / "file"), tmp_path / "again")
    os.truncate(write(tmp_path / "hole", 1), 64 * MIB)
    use = scratch_use(tmp_path, PID, 10)
    assert MIB <= use.size_bytes < MIB + MIB // 4
    assert (use.files, use.hidden) == (4, False)


def test_a_deleted_file_counts_while_it_is_open(tmp_path: Path) -> None:
    """Its room is given back only then."""
    with write(tmp_path / "file").open():
        (tmp_path / "file").unlink()
        assert MIB <= scratch_use(tmp_path, PID, 10).size_bytes < 2 * MIB
    assert scratch_use(tmp_path, PID, 10).size_bytes == 0


def test_a_deleted_file_counts_while_it_is_mapped(tmp_path: Path) -> None:
    """Its size is not to be had, so it counts as the largest possible; once, though it is mapped twice."""
    path = write(tmp_path / "a [file]")
    code = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
        "file = os.open(sys.argv[1], os.O_RDWR); os.unlink(sys.argv[1])\n"
        "[libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0)) for _ in range(2)]\n"
        "os.close(file); print('mapped', flush=True); input()\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mapped\n"
        assert scratch_use(tmp_path, process.pid, 10) == ScratchUse(MAX_FILE_BYTES, files=1, hidden=False)
        process.communicate(b"\n")


@contextmanager
def memory_file(size_bytes: int) -> Iterator[int]:
    """Yield the descriptor of a file that is in memory only."""
    descriptor = os.memfd_create("notes")
    try:
        os.write(descriptor, b"x" * size_bytes)
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="such files are Linux's")
def test_files_in_memory_count_while_they_are_open(tmp_path: Path) -> None:
    """Each once, however many descriptors it has; they have no folder, and no limit of memory knows them."""
    with memory_file(MIB) as first, memory_file(2 * MIB):
        again = os.dup(first)
        assert scratch_use(tmp_path, PID, 10) == ScratchUse(size_bytes=3 * MIB, files=2, hidden=False)
        os.close(again)
    assert scratch_use(tmp_path, PID, 10).size_bytes == 0


def test_a_folder_of_a_link_is_looked_into(tmp_path: Path) -> None:
    """The folder for temporary files may be a link; the system names what is behind it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with write(tmp_path / "real" / "file").open():
        (tmp_path / "real" / "file").unlink()
        assert scratch_use(tmp_path / "link", PID, 10).size_bytes >= MIB


def test_counting_ends_where_there_are_too_many(tmp_path: Path) -> None:
    """A look must not take long, however many there are."""
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    assert scratch_use(tmp_path, PID, 10).files == 11


def test_folders_too_deep_for_a_path_are_told(tmp_path: Path) -> None:
    """Whoever makes such has something to hide."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("x" * 200, dir_fd=folder)
        deeper = os.open("x" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    assert scratch_use(tmp_path, PID, 100).hidden


def test_a_process_that_has_ended_holds_no_files(tmp_path: Path) -> None:
    """Nor does a folder that is gone."""
    assert scratch_use(tmp_path / "gone", GONE, 10) == ScratchUse(size_bytes=0, files=0, hidden=False)


def test_a_system_that_tells_no_blocks() -> None:
    """A file's length stands for them."""

    class Status:
        st_size = 7

    assert size_on_disk(Status()) == 7  # type: ignore[arg-type]  # -- Windows' results are of the same class, with less
