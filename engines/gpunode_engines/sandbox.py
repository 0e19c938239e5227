"""What an engine's process may do. Everything here runs in the child, in three steps.

``restrict_at_start`` comes before any library is imported. ``Sandbox.restrict_before_load`` follows once the parent has
said which model is loaded: from then on there are only the files of that model. ``restrict_after_load`` comes between
loading and the first job. The parent has scrubbed the environment already (see ``child_process``).
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

from gpunode_engines.confinement import Confinement
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.file_access import file_access
from gpunode_engines.file_confinement import confine_files
from gpunode_engines.ipc import Load
from gpunode_engines.limits import MAX_FILE_BYTES
from gpunode_engines.parent_line import ParentLine
from gpunode_engines.resource_limits import limit
from gpunode_engines.system_calls import confine_system_calls

# Numbers from the Linux header include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

MAX_OPEN_FILES = 4096
"""Descriptors of a child: its model's files, one for each call of llama.cpp's listener, graphics drivers' devices."""

MAX_MORE_TASKS = 4096
"""Threads that may be added on the machine while a child runs. The kernel counts them by user, not by process."""

_LOADAVG = Path("/proc/loadavg")


class ParentGone(Exception):
    """The parent died before the child could tie its life to it."""


def restrict_at_start(parent_pid: int) -> None:
    """Die with the parent, gain no privileges, write no core dumps and no large files.

    Raises:
        ParentGone: the process ``parent_pid`` is not the parent any more. OSError: the kernel refused.
    """
    limit("CORE", 0)
    limit("FSIZE", MAX_FILE_BYTES)
    limit("NOFILE", MAX_OPEN_FILES)
    if sys.platform != "linux":
        return  # the end of the channel is the only sign of a lost parent there
    running = _LOADAVG.read_text(encoding="ascii").split()[3]  # "running/all" tasks, see proc(5)
    limit("NPROC", int(running.partition("/")[2]) + MAX_MORE_TASKS)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.getppid() != parent_pid:
        raise ParentGone(f"Process {parent_pid} ended while its engine started.")


class Sandbox:
    """The two later steps of one child, which has one thread until the first of them is done.

    Args:
        order: what it loads.
        line: to the parent; None = the child makes its connections itself, which neither Landlock nor seccomp as they
            are set up here would let it.
    """

    def __init__(self, order: Load, line: ParentLine | None) -> None:
        self._order = order
        self._line = line
        self._files = False

    def restrict_before_load(self) -> None:
        """Leave only the files that this model needs, and limit memory. Raises EngineStartFailed."""
        if self._order.data_bytes:
            limit("DATA", self._order.data_bytes)
        on_linux = sys.platform == "linux"
        if on_linux and self._line is not None:
            self._files = confine_files(file_access(self._order, Path.cwd(), os.environ))
        if not self._files:
            calls_may_follow = on_linux and self._line is not None
            self._refuse_if_strict(Confinement(no_new_privileges=on_linux, system_calls=calls_may_follow))

    def restrict_after_load(self) -> Confinement:
        """Refuse system calls that no job needs, and return what is in force. Raises EngineStartFailed.

        Core dumps stay off even if the library changed the limit while it loaded.
        """
        limit("CORE", 0)
        on_linux = sys.platform == "linux"
        calls = reported = False
        if on_linux and self._line is not None:
            calls, reported = confine_system_calls(
                self._line.fileno(), self._line.report_denials, on_gpu=self._order.options.use_gpu
            )
        confinement = Confinement(
            no_new_privileges=on_linux, files=self._files, system_calls=calls, denials_reported=reported
        )
        self._refuse_if_strict(confinement)
        return confinement

    def _refuse_if_strict(self, confinement: Confinement) -> None:
        if self._order.sandbox.mode == "strict" and confinement.lacks():
            raise EngineStartFailed(
                f"The engine cannot be confined fully here, it would lack: {', '.join(confinement.lacks())}. "
                "'gpunode doctor' says what there is; --sandbox auto goes on without."
            )


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
