"""All processes of a host: those in its network namespace, whoever started them."""

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from gpunode_benchmarks.lab.kernel import network_of

_PAUSE_S: Final = 0.001
_MOST_LOOKS: Final = 2_000
_STOPPED: Final = frozenset("TtXZ")  # man 5 proc: stopped, traced, dead, zombie


def processes_in(network: int) -> set[int]:
    """Return the processes of a network namespace, by its number."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return {pid for pid in pids if network_of(pid) == network}


def kill_all(network: int, spared: Collection[int] = ()) -> int:
    """Kill a host's processes until none is left; return how many there were.

    Raises:
        TimeoutError: the kernel keeps one for seconds, as it does with those that wait for a broken disk.
    """
    killed: set[int] = set()
    for _ in range(_MOST_LOOKS):
        pids = processes_in(network).difference(spared)
        if not pids:
            return len(killed)
        _send(pids - killed, signal.SIGKILL)
        killed |= pids
        time.sleep(_PAUSE_S)
    raise TimeoutError


def stop_all(network: int) -> int:
    """Stop a host's processes until none runs, those too that were started meanwhile; return how many there are.

    Raises:
        TimeoutError: one goes on for seconds.
    """
    for _ in range(_MOST_LOOKS):
        pids = processes_in(network)
        running = {pid for pid in pids if _state_of(pid) not in _STOPPED}
        if not running:
            return len(pids)
        _send(running, signal.SIGSTOP)
        time.sleep(_PAUSE_S)
    raise TimeoutError


def continue_all(network: int) -> int:
    """Let a host's processes go on; return how many there are."""
    pids = processes_in(network)
    _send(pids, signal.SIGCONT)
    return len(pids)


def _state_of(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _send(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
