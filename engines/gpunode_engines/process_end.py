"""Killing a process with all that it started."""

import contextlib
import os
import signal
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

_WAIT_S = 5.0
"""What Windows may take to end a killed process."""


def kill_with_all(pid: int) -> Sequence[psutil.Process]:
    """Kill a process that leads a group, where there are groups (Unix), else it and its descendants.

    Of the latter those go unnoticed whose own parent has ended already.

    Args:
        pid: of a process that has not been waited for, so that the number is still its own.

    Returns:
        Whose end ``wait_for`` should see before their files are removed. The process itself is not among them.
    """
    if not hasattr(os, "killpg"):
        return kill_family(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return ()


def kill_family(pid: int) -> Sequence[psutil.Process]:
    """Kill a process and its descendants, one by one; return the descendants."""
    try:
        process = psutil.Process(pid)
        descendants: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return ()
    for member in (*descendants, process):
        with contextlib.suppress(psutil.Error):
            member.kill()
    return descendants


def wait_for(killed: Sequence[psutil.Process]) -> None:
    """Wait some seconds for the end of processes that were killed; blocks."""
    psutil.wait_procs(killed, timeout=_WAIT_S)
