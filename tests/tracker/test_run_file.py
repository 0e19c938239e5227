"""``run.json``."""

import os
from pathlib import Path

from gpunode_tracker.run_file import RUN_FILE, RunInfo, read_run_file, remove_run_file, write_run_file

INFO = RunInfo(os.getpid(), "http://127.0.0.1:1", "12D3", ("/ip4/127.0.0.1/tcp/1/p2p/12D3",), "0" * 40)


def test_written_read_removed(tmp_path: Path) -> None:
    """What is written reads back; afterwards no other file is left."""
    write_run_file(tmp_path, INFO)
    assert read_run_file(tmp_path) == INFO
    assert [path.name for path in tmp_path.iterdir()] == [RUN_FILE]
    remove_run_file(tmp_path)
    remove_run_file(tmp_path)
    assert read_run_file(tmp_path) is None


def test_a_file_that_a_crash_left(tmp_path: Path) -> None:
    """A process that has gone, or a damaged file, counts as not running."""
    write_run_file(tmp_path, RunInfo(2**22 + 1, "", "", (), ""))
    assert read_run_file(tmp_path) is None
    (tmp_path / RUN_FILE).write_text("{}")
    assert read_run_file(tmp_path) is None
