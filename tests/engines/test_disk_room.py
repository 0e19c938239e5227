"""Room on the disk before a pull."""

import errno
from pathlib import Path

import pytest
from gpunode_engines.disk_room import SPARE_BYTES, check_room, free_bytes, given_back_when_full
from gpunode_engines.errors import DownloadFailed, NotEnoughDisk

GIB = 1024**3


def test_too_little_room_names_both_figures() -> None:
    """And what to do."""
    with pytest.raises(NotEnoughDisk, match=r"needs 4\.5 GiB more.*2\.0 GiB are free at /models.*models remove"):
        check_room("big", 9 * GIB // 2, Path("/models"), 2 * GIB)


def test_some_room_stays_free() -> None:
    """A disk filled to the last byte breaks other programs."""
    check_room("model", GIB, Path("/models"), GIB + SPARE_BYTES)
    with pytest.raises(NotEnoughDisk):
        check_room("model", GIB + 1, Path("/models"), GIB + SPARE_BYTES)


def test_what_is_here_needs_no_room() -> None:
    """Not even on a full disk."""
    check_room("model", 0, Path("/models"), 0)


def test_a_folder_that_does_not_exist_yet_has_the_room_above_it(tmp_path: Path) -> None:
    """Of the nearest folder that exists."""
    assert free_bytes(tmp_path / "a" / "b") > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_gets_its_room_back(tmp_path: Path, number: int) -> None:
    """The user's share of it counts as well."""
    part = tmp_path / "part"
    part.write_bytes(b"123")
    deleted = pytest.raises(DownloadFailed, match=r"What was here of model\.gguf was deleted")
    with deleted, given_back_when_full(part, tmp_path / "model.gguf"):
        raise OSError(number, "full")
    assert not part.exists()


def test_other_errors_keep_what_is_here(tmp_path: Path) -> None:
    """It is gone on with later."""
    part = tmp_path / "part"
    part.write_bytes(b"123")
    with pytest.raises(PermissionError), given_back_when_full(part, tmp_path / "model.gguf"):
        raise PermissionError
    assert part.read_bytes() == b"123"
