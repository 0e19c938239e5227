import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from gpunode_engines.scratch_folder import ScratchFolder, remove_stale


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_removed_with_what_is_in_it(temporary: Path) -> None:
    """And the descriptor that locks it is closed."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    scratch = ScratchFolder()
    (scratch.path / "file").write_text("x")
    assert scratch.path.parent == temporary
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    scratch.remove()
    scratch.remove()
    assert list(temporary.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_in_use_stays() -> None:
    """Of this process or another one: a second node on the machine removes nothing of the first."""
    scratch = ScratchFolder()
    remove_stale()
    assert scratch.path.is_dir()
    scratch.remove()


def test_what_a_killed_process_left_is_removed(temporary: Path) -> None:
    """Also where the process is a zombie, or its number is in use again, as in containers."""
    code = (
        "import os, signal, tempfile, sys; tempfile.tempdir = sys.argv[1]\n"
        "from gpunode_engines.scratch_folder import ScratchFolder\n"
        "scratch = ScratchFolder(); (scratch.path / 'file').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(temporary)]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and a zombie still
        assert len(list(temporary.iterdir())) == 1
        remove_stale()
        assert list(temporary.iterdir()) == []


def test_a_link_is_not_followed(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Anybody may write to the folder for temporary files."""
    other = tmp_path_factory.mktemp("other")
    (other / "file").write_text("x")
    (temporary / "gpunode-scratch-x").symlink_to(other)
    remove_stale()
    assert (other / "file").exists()


def test_what_belongs_to_another_user_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for root, and whatever that user does in it meanwhile."""
    other = temporary / "gpunode-scratch-x"
    other.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: other.stat().st_uid + 1)
    remove_stale()
    assert other.is_dir()


def test_a_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for example; the caller reports it."""

    def full(**_: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(OSError, match="No space left"):
        ScratchFolder()
