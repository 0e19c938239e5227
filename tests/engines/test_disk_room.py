"""Room on the disk before a pull."""

from pathlib import Path

import pytest
from gpunode_engines.disk_room import SPARE_BYTES, check_room, free_bytes
from gpunode_engines.errors import NotEnoughDisk

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
