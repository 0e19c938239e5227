"""What an engine's process may do. Everything here runs in the child.

``restrict_at_start`` comes before any library is imported; ``restrict_after_load`` comes between loading the model
and the first job. The parent has scrubbed the environment already (see ``child_process``).
"""

import ctypes
import os
import resource
import signal
import sys

# Numbers from the Linux header include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Size cap of any file that the child writes, bytes: its scratch folder needs next to nothing."""

APPLIED: tuple[str, ...] = (
    "own process with a scrubbed environment",
    "memory watched",
    *(("no new privileges",) if sys.platform == "linux" else ()),
    f"files of at most {MAX_FILE_BYTES // 1024**2} MiB",
)
"""What confines an engine's process here, with what its parent does (``child_process``, ``supervisor``), in words."""


class ParentGone(Exception):
    """The parent died before the child could tie its life to it."""


def restrict_at_start(parent_pid: int) -> None:
    """Die with the parent, gain no privileges, write no core dumps and no large files.

    Raises:
        ParentGone: the process ``parent_pid`` is not the parent any more. OSError: the kernel refused.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.getppid() != parent_pid:
        raise ParentGone(f"Process {parent_pid} ended while its engine started.")


def restrict_after_load() -> None:
    """Tighten what is left once the weights are mapped: the place for seccomp and Landlock (design.md section 7).

    Core dumps stay off even if the library changed the limit while it loaded.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
