"""The folder in which a backup is put together."""

import signal
import subprocess
import sys
from pathlib import Path

from gpunode_tracker.backup.work_folder import PREFIX, work_folder


def test_it_goes_at_the_end(tmp_path: Path) -> None:
    """With all that is in it; only its owner reads it."""
    with work_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "rows").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_backup_left_is_removed(tmp_path: Path) -> None:
    """It holds keys, so it must not lie about."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from gpunode_tracker.backup.work_folder import work_folder\n"
        "with work_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'archive').write_text('keys')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / f"{PREFIX}of-before-there-were-locks").mkdir()
    with work_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert folder != left


def test_two_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    """The lock tells one that works from one that was killed."""
    with work_folder(tmp_path) as first, work_folder(tmp_path) as second:
        assert {first, second} == set(tmp_path.iterdir())


def test_what_only_looks_like_one_stays(tmp_path: Path) -> None:
    """A link leads elsewhere, and a file is somebody's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "mine")
    (tmp_path / f"{PREFIX}file").write_text("x")
    with work_folder(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{PREFIX}file", f"{PREFIX}link", "mine"]
    assert list((tmp_path / "mine").iterdir()) == []
