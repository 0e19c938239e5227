"""Removing a folder that a stranger's program filled."""

import contextlib
import itertools
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_OPEN: Final = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
"""Not all systems have all of them; those without ``_HAS_DESCRIPTORS`` need none."""

_HAS_DESCRIPTORS: Final = os.scandir in os.supports_fd and {os.open, os.rename, os.unlink} <= os.supports_dir_fd
"""Whether a folder can be opened and worked in, which Windows' cannot."""

_OWNER_MAY: Final = 0o700


def remove_folder(top: Path) -> None:
    """Remove a folder of this user with all that is in it, whatever modes there are; what cannot be removed stays.

    Nothing may change in it meanwhile: whoever wrote there has ended. ``shutil.rmtree`` would do, but it holds a stack
    frame and a descriptor for each level, and fails where folders lie a thousand deep. Here each folder that is found
    moves up to ``top`` first. Links are not followed. Systems whose folders cannot be opened do with ``rmtree``.
    """
    if not _HAS_DESCRIPTORS:
        remove_by_name(top)
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(top, os.O_RDONLY | _OPEN)
        try:
            _empty(descriptor)
        finally:
            os.close(descriptor)
        top.rmdir()


def remove_by_name(top: Path) -> None:
    """Do the same with ``shutil.rmtree``."""

    def again(remove: Callable[[str], Any], name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(name, _OWNER_MAY)  # noqa: PTH101 -- the name comes as text; Windows keeps files that are read-only
            remove(name)

    shutil.rmtree(top, onerror=again)


def _empty(top: int) -> None:
    """Remove all that is in an open folder."""
    prefix = secrets.token_hex(16)  # no name that is in use there
    names = (f"{prefix}-{number}" for number in itertools.count())
    folders: list[str] = []

    def clear(folder: int) -> None:
        """Delete the files of an open folder and move its folders up."""
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        os.chmod(entry.name, _OWNER_MAY, dir_fd=folder)  # moving and reading it need that
                        os.rename(entry.name, new := next(names), src_dir_fd=folder, dst_dir_fd=top)
                        folders.append(new)
                    else:
                        os.unlink(entry.name, dir_fd=folder)

    clear(top)
    while folders:
        name = folders.pop()
        with contextlib.suppress(OSError):
            descriptor = os.open(name, os.O_RDONLY | _OPEN, dir_fd=top)
            try:
                clear(descriptor)
            finally:
                os.close(descriptor)
            os.rmdir(name, dir_fd=top)
