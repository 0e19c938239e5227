"""Copies of model files that are interrupted: killed processes, full disks, sources that changed."""

import asyncio
import sys
from pathlib import Path

import pytest
from gpunode_engines.errors import DownloadFailed
from gpunode_engines.folder_copy import copy_file

PIECE = 8 * 1024**2
CONTENT = b"".join(bytes([number]) * PIECE for number in range(3)) + b"end"
COPY = """
import sys
from pathlib import Path
from gpunode_engines.folder_copy import copy_file

def watch(here, total):
    print(here, flush=True)
    sys.stdin.read(1)

copy_file(*map(Path, sys.argv[1:]), watch)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of several pieces."""
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def _copy(source: Path) -> list[tuple[int, int]]:
    """Copy to ``target`` beside it by way of ``part``; return what was told."""
    told: list[tuple[int, int]] = []
    target = copy_file(source, source.with_name("target"), source.with_name("part"), lambda *at: told.append(at))
    assert target.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in source.parent.iterdir()) == ["source", "target"]
    return told


def test_a_file_is_copied(source: Path) -> None:
    """How far it is, is told after each piece."""
    assert _copy(source) == [(min(done, len(CONTENT)), len(CONTENT)) for done in range(PIECE, 5 * PIECE, PIECE)]


async def test_a_killed_copy_goes_on(source: Path, tmp_path: Path) -> None:
    """SIGKILL between two pieces: what was written is kept, in the same file."""
    target, part = tmp_path / "target", tmp_path / "part"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COPY, str(source), str(target), str(part),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert int(await child.stdout.readline()) == PIECE
    child.kill()
    await child.wait()
    assert not target.exists()
    assert part.read_bytes() == CONTENT[:PIECE]
    file = part.stat().st_ino
    _copy(source)
    assert target.stat().st_ino == file


@pytest.mark.parametrize("here", [b"other", CONTENT + b"more", CONTENT[:PIECE] + bytes(PIECE) + CONTENT[2 * PIECE :]])
@pytest.mark.parametrize("name", ["part", "target"])
def test_what_differs_is_written_anew(source: Path, here: bytes, name: str) -> None:
    """The source may have changed since."""
    source.with_name(name).write_bytes(here)
    _copy(source)


def test_a_whole_file_is_not_copied_again(source: Path) -> None:
    """It is compared only."""
    target = source.with_name("target")
    target.write_bytes(CONTENT)
    before = target.stat()
    assert _copy(source)[-1] == (len(CONTENT), len(CONTENT))
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_link_in_the_way_is_replaced_and_not_written_through(source: Path, tmp_path: Path) -> None:
    """A model's folder could have a link to somebody's file."""
    other = tmp_path.parent / f"{tmp_path.name}-other"
    other.write_bytes(b"precious")
    source.with_name("target").symlink_to(other)
    _copy(source)
    assert other.read_bytes() == b"precious"


def test_a_full_disk_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    """The kernel's own error; the part is deleted, and no file pretends to be whole."""
    (tmp_path / "part").symlink_to("/dev/full")
    with pytest.raises(DownloadFailed, match=r"is full.*GPUNODE_MODELS_DIR"):
        _copy(source)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_source_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """The caller says which."""
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "gone", tmp_path / "target", tmp_path / "part", lambda *_: None)
