"""The few Linux calls of the lab that Python 3.11 lacks."""

import ctypes
import os
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_PR_SET_PDEATHSIG: Final = 1

_libc: Final = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones (``man 2 unshare``). Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def enter_namespace(descriptor: int, kind: int) -> None:
    """Enter a namespace of one kind, such as ``CLONE_NEWNET`` (``man 2 setns``). Raises OSError."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount_own_proc() -> None:
    """Show this process ID namespace's processes in /proc, to this mount namespace alone. Raises OSError."""
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    _check(_libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount")


def die_with_parent(signal_number: int) -> None:
    """Get a signal when the parent ends (``man 2 prctl``). Raises OSError."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number), "prctl")


def network_of(pid: int | str) -> int | None:
    """Return the number of a process's network namespace; None if the process has ended."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
