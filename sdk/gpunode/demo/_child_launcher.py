"""Becomes another program that cannot outlive the demo: run as ``python -I -S _child_launcher.py PARENT COMMAND…``.

A launcher instead of a ``preexec_fn``, which is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent_pid: int, command: list[str]) -> None:
    """Ask the kernel to end this process when its parent dies, however that happens; then execute ``command``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before it could be watched
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 -- our own interpreter, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
