"""Landlock, in real processes: it cannot be undone in this one. With the real model: test_hostile_engines."""

import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = """
import os, socket, sys, threading
from pathlib import Path
from gpunode_engines.file_access import FileAccess
from gpunode_engines.file_confinement import confine_files

readable, scratch, other = map(Path, sys.argv[1:4])
programs = tuple(Path(path) for path in ("/usr", "/lib", "/lib64", sys.prefix, sys.base_prefix) if Path(path).exists())
access = FileAccess(programs=programs, readable=(readable,), devices=(Path("/dev/null"),), scratch=scratch)
assert confine_files(access)

def refused(act):
    try:
        act()
    except PermissionError:
        return True
    return False

def check():
    assert readable.read_text() == "weights"
    assert refused(lambda: readable.write_text("x"))
    assert refused(other.read_text)
    assert refused(lambda: list(other.parent.iterdir()))
    assert refused(lambda: other.with_name("new").touch())
    (scratch / "a").mkdir()
    (scratch / "a" / "b").write_text("x")
    (scratch / "a" / "b").rename(scratch / "c")
    (scratch / "c").unlink()
    (scratch / "a").rmdir()
    assert refused(lambda: os.mkfifo(other.with_name("fifo")))
    assert "Name:" in Path("/proc/self/status").read_text()
    assert refused(Path("/proc/1/status").read_text)
    Path("/dev/null").write_text("x")

check()
thread = threading.Thread(target=check)
thread.start()
thread.join()
print("checked")
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's")


def test_only_what_is_allowed(tmp_path: Path) -> None:
    """Read, write and scratch, in the thread that asked for it and in those that it starts."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "weights").write_text("weights")
    (tmp_path / "private" / "key").write_text("secret")
    arguments = [str(tmp_path / name) for name in ("weights", "scratch", "private/key")]
    done = subprocess.run([sys.executable, "-c", _CHILD, *arguments], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("checked\n", "")
