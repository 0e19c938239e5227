"""A cgroup (version 2) of its own for each engine, where the node may make one: its memory limit knows no spikes."""

import contextlib
import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")

_DELEGATED = "user.delegate"
"""Attribute by which systemd marks what a service may divide as it likes."""

_KILLS: Final = "oom_kill "

MAX_TASKS = 4096
"""Threads of an engine."""


class MemoryCgroup:
    """One group. Whoever makes it removes it, once its process has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(
        cls, name: str, limit_bytes: int, *, root: Path = CGROUPS, own: Path = OWN_CGROUP
    ) -> "MemoryCgroup | None":
        """Return a group with this limit, None where there can be none.

        Args:
            name: of its folder; one that is left of an earlier process is used again.
            limit_bytes: of all memory that the kernel counts, files in the page cache included, which it drops first.
            root: where version 2 is mounted.
            own: tells this process's own group.
        """
        for parent in _parents(root, own):
            group = cls(parent / name)
            try:
                group.folder.mkdir(exist_ok=True)
                group._set("memory.max", str(limit_bytes))
            except OSError:
                group.remove()
                continue
            for file, value in (("memory.swap.max", "0"), ("memory.oom.group", "1"), ("pids.max", str(MAX_TASKS))):
                with contextlib.suppress(OSError):  # kernels without swap, or a controller that is not enabled
                    group._set(file, value)
            return group
        return None

    def add(self, pid: int) -> bool:
        """Move a process in, with what it will start; returns whether that worked."""
        try:
            self._set("cgroup.procs", str(pid))
        except OSError:
            return False
        return True

    def kills(self) -> int:
        """Return how many processes in here the kernel has ended because of the limit."""
        try:
            lines = (self.folder / "memory.events").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.removeprefix(_KILLS)) for line in lines if line.startswith(_KILLS)), 0)

    def remove(self) -> None:
        """Remove the group; one that is still in use, or not there, stays as it is."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _set(self, file: str, value: str) -> None:
        (self.folder / file).write_text(value, encoding="ascii")


def _parents(root: Path, own: Path) -> list[Path]:
    """Return the groups that may be divided: the own one, or the delegated one around it, with memory to be limited."""
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    if not paths:
        return []
    folder = root / paths[0]
    around = [folder.parent] if folder != root and _is_delegated(folder.parent) else []
    return [group for group in (folder, *around) if _limits_memory(group)]


def _is_delegated(folder: Path) -> bool:
    try:
        return os.getxattr(folder, _DELEGATED) == b"1"
    except OSError:
        return False


def _limits_memory(folder: Path) -> bool:
    """Whether groups in here can have a memory limit; asks for it where that is missing."""
    control = folder / "cgroup.subtree_control"
    try:
        if "memory" not in control.read_text(encoding="ascii").split():
            control.write_text("+memory", encoding="ascii")  # fails where processes are in this very group
            with contextlib.suppress(OSError):
                control.write_text("+pids", encoding="ascii")
    except OSError:
        return False
    return os.access(folder, os.W_OK)
