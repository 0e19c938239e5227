"""Processes of a demo that its process groups do not hold: p2pd and the engines lead sessions of their own.

They die with their parents, but not at the same moment: one that still runs may write below the demo's folder while
that is being removed. They are known by the temporary folder in their environment, which they inherit.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

END_TIMEOUT_S: Final = 5.0
"""For a killed process to be gone."""


def end_strays(folder: Path) -> None:
    """Kill every process whose temporary folder is ``folder`` or lies below it, and return when none is left.

    One that is forked meanwhile is found by the next look, so the last look found none.
    """
    while strays := list(_strays(folder)):
        kill_all(strays)
        _, alive = psutil.wait_procs(strays, timeout=END_TIMEOUT_S)
        if alive:  # in the kernel, which will not let go of them: nothing more can be done from here
            return


def family_of(pid: int) -> list[psutil.Process]:
    """Return the processes that a running process started, and those that they started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill processes, without waiting until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _strays(folder: Path) -> Iterator[psutil.Process]:
    """Yield those that run; a zombie has no environment any more and writes nothing."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            temporary = process.environ().get("TMPDIR")
            if temporary and Path(temporary).is_relative_to(folder):
                yield process
