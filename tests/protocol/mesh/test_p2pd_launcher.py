import os
import subprocess
import sys

from gpunode_protocol.mesh import _p2pd_launcher
from gpunode_protocol.mesh.config import MEBIBYTE

_SHOW_LIMITS = (
    "import resource; print(resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_CORE))"
)


_TAKE_MORE = f"bytearray({600 * MEBIBYTE})"


def launch(parent_pid: int, program: str = _SHOW_LIMITS) -> "subprocess.CompletedProcess[str]":
    """Let the launcher start a program; the usual one shows its limits."""
    command = [sys.executable, "-I", "-S", _p2pd_launcher.__file__, str(parent_pid), str(512 * MEBIBYTE)]
    return subprocess.run(
        [*command, sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )


def test_command_runs_under_the_limits() -> None:
    """The command takes the launcher's place, without core dumps and with the data limit."""
    assert launch(os.getpid()).stdout.strip() == f"({512 * MEBIBYTE}, {512 * MEBIBYTE}) (0, 0)"


def test_more_than_the_limit_is_not_to_be_had() -> None:
    """The kernel gives a process no more memory, however it asks."""
    result = launch(os.getpid(), _TAKE_MORE)
    assert result.returncode == 1
    assert "MemoryError" in result.stderr


def test_orphan_does_not_start() -> None:
    """If the parent died before it could be watched, nothing is executed."""
    result = launch(parent_pid=1)
    assert (result.returncode, result.stdout) == (1, "")
