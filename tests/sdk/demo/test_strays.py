"""Nothing of a demo runs, and so nothing can write, once its processes have been ended."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
from gpunode.demo.strays import end_strays

_WAITING = "import signal; print('ready', flush=True); signal.pause()"


def _start(program: str, temporary: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_those_below_the_folder_are_ended(tmp_path: Path) -> None:
    """Also where their own temporary folder is one below it, as an engine's."""
    with _start(_WAITING, tmp_path) as p2pd, _start(_WAITING, tmp_path / "gpunode-engine-1") as engine:
        end_strays(tmp_path)
        assert not psutil.pid_exists(p2pd.pid)
        assert not psutil.pid_exists(engine.pid)


def test_others_go_on(tmp_path: Path) -> None:
    """A folder whose name only begins alike belongs to somebody else."""
    with _start(_WAITING, tmp_path / "demo-2") as other:
        end_strays(tmp_path / "demo")
        assert other.poll() is None
        other.kill()


def test_a_stray_of_a_child_that_is_gone(tmp_path: Path) -> None:
    """Its parent has ended, so that no process group and no family leads to it."""
    program = f"""
import subprocess, sys
inner = subprocess.Popen([sys.executable, "-c", {_WAITING!r}], start_new_session=True)
print(inner.pid, file=open({str(tmp_path / "pid")!r}, "w"))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as parent:
        assert parent.wait() == 0
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    assert psutil.pid_exists(pid)
    end_strays(tmp_path)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
