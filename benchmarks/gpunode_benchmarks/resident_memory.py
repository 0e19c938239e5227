"""Resident memory of a daemon, its libp2p daemon and its engines, each apart."""

from dataclasses import dataclass
from typing import Final

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

MEBIBYTE: Final = 1024 * 1024
_P2PD: Final = "p2pd"


@dataclass(frozen=True, slots=True)
class Resident:
    """MiB. own: the process itself. p2pd: its libp2p daemon. engines: all other processes that it started."""

    own: float
    p2pd: float
    engines: float


def resident_of(pid: int) -> Resident:
    """Measure a process and all that it has started.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    process = psutil.Process(pid)
    p2pd = engines = 0.0
    for child in process.children(recursive=True):
        size = _mebibytes(child)
        if child.name() == _P2PD:
            p2pd += size
        else:
            engines += size
    return Resident(_mebibytes(process), p2pd, engines)


def _mebibytes(process: psutil.Process) -> float:
    size: int = process.memory_info().rss
    return size / MEBIBYTE
