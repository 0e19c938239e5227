"""Becomes p2pd: binds the process's life to its parent, limits its memory, then executes the binary.

Run as ``python -I _p2pd_launcher.py PARENT_PID DATA_LIMIT_BYTES P2PD [ARGUMENT…]``. A launcher instead of a
``preexec_fn``, which is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent_pid: int, data_limit_bytes: int, command: list[str]) -> None:
    """Set the limits and execute ``command``."""
    import resource  # noqa: PLC0415 -- only Unix has it; elsewhere the mesh's modules can be loaded all the same

    if sys.platform == "linux":
        # SIGTERM lets p2pd say goodbye: peers connected by QUIC would otherwise notice only after 45 s
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # it died before it could be watched
            sys.exit(1)
        # Linux counts private writable mappings, too, so this bounds Go's heap (man 2 getrlimit).
        resource.setrlimit(resource.RLIMIT_DATA, (data_limit_bytes, data_limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(command[0], command)  # noqa: S606 -- a fixed path, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
