import os
import subprocess
import sys

from gpunode_protocol.mesh import _p2pd_launcher
from gpunode_protocol.mesh.config import MEBIBYTE

_SHOW_LIMITS = (
    "import resource; print(resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_CORE))"
)


def launch(parent_pid: int) -> "subprocess.CompletedProcess[str]":
    """Let the launcher start a program that shows its limits."""
    command = [sys.executable, "-I", "-S", _p2pd_launcher.__file__, str(parent_pid), str(512 * MEBIBYTE)]
    return subprocess.run(
        [*command, sys.executable, "-c", _SHOW_LIMITS], capture_output=True, text=True, check=False, timeout=30
    )


def test_command_runs_under_the_limits() -> None:
    """The command takes the launcher's place, without core dumps and with the data limit."""
    assert launch(os.getpid()).stdout.strip() == f"({512 * MEBIBYTE}, {512 * MEBIBYTE}) (0, 0)"


def test_orphan_does_not_start() -> None:
    """If the parent died before it could be watched, nothing is executed."""
    result = launch(parent_pid=1)
    assert (result.returncode, result.stdout) == (1, "")
