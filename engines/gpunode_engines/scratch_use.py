"""What a child has written to its scratch folder, also where it does not want that to be seen.

No quota of the kernel is to be had without privileges, so the supervisor looks. Whatever keeps a file's blocks on the
disk counts: a name, an open descriptor, or a mapping into memory. Files that are in memory only count while they are
open, because no limit of memory knows them. Where there is no /proc, names are all that is seen; on Windows a file that
is in use keeps its name.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpunode_engines.limits import MAX_FILE_BYTES

_BLOCK_BYTES: Final = 512
"""Unit of ``st_blocks`` everywhere, see inode(7)."""

_MAP_LINE: Final = r"^[^ \n]+ \S+ \S+ \S+ (\d+) +{}/.* \(deleted\)$"
"""Of /proc/PID/maps, see proc(5); the group is the inode."""

_PROC: Final = Path("/proc")

_MEMORY_FILE: Final = "/memfd:"
"""What the link of a descriptor from memfd_create(2) begins with."""


@dataclass(frozen=True, slots=True)
class ScratchUse:
    """size_bytes: on the disk, and of files in memory. files: and folders. hidden: something cannot be looked into."""

    size_bytes: int
    files: int
    hidden: bool


def scratch_use(folder: Path, pid: int, most_files: int) -> ScratchUse:
    """Look at what the process ``pid`` keeps in its scratch folder; counting ends beyond ``most_files``.

    The process may go on meanwhile, and may end. A mapped file without a name or descriptor tells no size and counts
    as the largest that can be.
    """
    folder = folder.resolve()  # as /proc names it
    look = _Look(most_files)
    look.at_names(folder)
    look.at_descriptors(folder, pid)
    look.at_mappings(folder, pid)
    return ScratchUse(size_bytes=sum(look.sizes.values()), files=look.files, hidden=look.hidden)


def size_on_disk(status: os.stat_result) -> int:
    """Return the bytes that a file takes; its length where the system does not tell (Windows)."""
    blocks: int | None = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * _BLOCK_BYTES


class _Look:
    """sizes: bytes by what names a file once: its inode, or its path where entries tell none (Windows).

    Files in memory have inodes of their own, which are texts here.
    """

    def __init__(self, most_files: int) -> None:
        self.sizes: dict[int | str, int] = {}
        self.files = 0
        self.hidden = False
        self._most_files = most_files

    def at_names(self, folder: Path) -> None:
        """Count what has a name."""
        folders = [os.fspath(folder)]
        while folders and self.files <= self._most_files:
            try:
                with os.scandir(folders.pop()) as entries:
                    folders += self._entries(entries)
            except (FileNotFoundError, NotADirectoryError):
                pass  # gone, or something else by now
            except OSError:  # forbidden, or too deep for a path
                self.hidden = True

    def _entries(self, entries: Iterable["os.DirEntry[str]"]) -> list[str]:
        """Count entries and return the folders among them."""
        folders = []
        for entry in entries:
            if not self._one_more():
                break
            try:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
            except FileNotFoundError:
                continue
            self.sizes[status.st_ino or entry.path] = size_on_disk(status)
        return folders

    def at_descriptors(self, folder: Path, pid: int) -> None:
        """Count open files whose names were deleted, or that never had one."""
        descriptors = _PROC / str(pid) / "fd"
        try:
            links = list(descriptors.iterdir())
        except (FileNotFoundError, ProcessLookupError):
            return
        except OSError:
            self.hidden = True
            return
        for link in links:
            try:
                target = link.readlink()
                in_memory = str(target).startswith(_MEMORY_FILE)
                if not in_memory and folder not in target.parents:
                    continue
                status = link.stat()
            except (FileNotFoundError, ProcessLookupError):
                continue
            except OSError:
                self.hidden = True
                continue
            key = f"{_MEMORY_FILE}{status.st_ino}" if in_memory else status.st_ino
            if key not in self.sizes and self._one_more():
                self.sizes[key] = size_on_disk(status)

    def at_mappings(self, folder: Path, pid: int) -> None:
        """Count files that are only mapped into memory."""
        try:
            maps = (_PROC / str(pid) / "maps").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return
        except OSError:
            self.hidden = True
            return
        for inode in set(re.findall(_MAP_LINE.format(re.escape(str(folder))), maps, re.MULTILINE)):
            if int(inode) not in self.sizes and self._one_more():
                self.sizes[int(inode)] = MAX_FILE_BYTES

    def _one_more(self) -> bool:
        """Count a file; False if they are too many to go on."""
        self.files += 1
        return self.files <= self._most_files
