"""Killing real processes that have started others."""

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

import psutil
import pytest
from gpunode_engines.process_end import kill_family, kill_with_all, wait_for

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


@pytest.mark.parametrize("kill", [kill_with_all, kill_family])
def test_a_process_goes_with_what_it_started(kill: Callable[[int], Sequence[psutil.Process]]) -> None:
    """By its group where there are groups, else one by one; whoever kills twice does no harm."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert psutil.pid_exists(int(parent.stdout.readline()))
        kill(parent.pid)
        assert parent.wait() == -signal.SIGKILL
        assert parent.stdout.read() == b""  # which the child held open too
        assert list(kill(parent.pid)) == []


def test_without_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a killed process ends a little later."""
    monkeypatch.delattr("os.killpg")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        own = psutil.Process(process.pid)
        assert list(kill_with_all(process.pid)) == []
        wait_for([own])
        assert not own.is_running()
