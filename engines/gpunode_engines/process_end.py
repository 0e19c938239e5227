"""Killing a process with all that it started."""

import contextlib
import os
import signal

import psutil  # type: ignore[import-untyped]  # -- ships no annotations


def kill_with_all(pid: int) -> None:
    """Kill a process that leads a group, where there are groups (Unix), else it and its descendants.

    Of the latter those go unnoticed whose own parent has ended already.

    Args:
        pid: of a process that has not been waited for, so that the number is still its own.
    """
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    else:
        kill_family(pid)


def kill_family(pid: int) -> None:
    """Kill a process and its descendants, one by one."""
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.Error:
        return
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
