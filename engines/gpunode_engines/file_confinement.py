"""Landlock: an engine's process sees the files on its allow-list and no others. Runs in the child, in one thread."""

import os
from typing import TYPE_CHECKING

from gpunode_engines.file_access import FileAccess

if TYPE_CHECKING:
    from pathlib import Path

    from landlockpy import AccessFS, Ruleset


def confine_files(access: FileAccess) -> bool:
    """Restrict this thread and all that it will start; returns whether the kernel did.

    Also, as far as the kernel knows how: no TCP connections, listeners on free ports only, no signals to other
    processes, no abstract Unix sockets. Threads that exist already would stay free: call it before there are any.
    """
    try:
        import landlockpy  # noqa: PLC0415 -- there is none for other platforms than Linux
    except ImportError:
        return False
    rights = landlockpy.AccessFS
    read = rights.READ_FILE | rights.READ_DIR
    write = rights.WRITE_FILE | rights.TRUNCATE
    make = rights.MAKE_DIR | rights.MAKE_REG | rights.MAKE_FIFO | rights.MAKE_SYM
    remove = rights.REMOVE_DIR | rights.REMOVE_FILE | rights.REFER
    try:
        with landlockpy.Ruleset(scoped=landlockpy.Scope.ABSTRACT_UNIX_SOCKET | landlockpy.Scope.SIGNAL) as rules:
            _allow(rules, access.programs, read | rights.EXECUTE)
            _allow(rules, (*access.readable, _own_proc()), read)
            _allow(rules, access.devices, read | write | rights.IOCTL_DEV)
            _allow(rules, (access.scratch,), read | write | make | remove)
            rules.allow_port(0, landlockpy.AccessNet.BIND_TCP)
            rules.restrict()
    except OSError:
        return False
    return True


def _allow(rules: "Ruleset", paths: "tuple[Path | str, ...]", access: "AccessFS") -> None:
    of_files = type(access).EXECUTE | type(access).READ_FILE | type(access).WRITE_FILE
    of_files |= type(access).TRUNCATE | type(access).IOCTL_DEV
    for path in paths:
        rules.allow_path(path, access if os.path.isdir(path) else access & of_files)  # noqa: PTH112 -- also of a descriptor's path


def _own_proc() -> str:
    """Return this process's folder below /proc, held open for good: dropped, it comes back without its rule."""
    folder = f"/proc/{os.getpid()}"
    os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return folder
