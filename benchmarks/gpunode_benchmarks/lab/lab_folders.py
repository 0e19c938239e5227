"""Where labs are: a folder each below /run/gpunode-lab, with the control socket, logs, and a folder for each host.

The folder outlives a lab that was killed. Whether one lives is asked of the kernel: its control socket says which
process listens, so that no other can be taken for it.
"""

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.messages import message_socket
from gpunode_benchmarks.lab.world import check_name

LABS_FOLDER: Final = Path("/run/gpunode-lab")

_END_TIMEOUT_S: Final = 20.0
_CREDENTIALS: Final = "3i"  # struct ucred: pid, uid, gid


def world_file_of(folder: Path) -> Path:
    """Return where a lab's world is kept."""
    return folder / "world.json"


def control_of(folder: Path) -> Path:
    """Return the path of a lab's control socket."""
    return folder / "control.sock"


def log_of(folder: Path) -> Path:
    """Return where the lab's own process writes."""
    return folder / "lab.log"


def named_folder(world_name: str) -> Path:
    """Return the folder of the lab that ``up`` starts for a world.

    Raises:
        WorldInvalid: this cannot be a world's name, so do all that take one.
    """
    check_name(world_name)
    return LABS_FOLDER / world_name


def passing_folder(world_name: str) -> Path:
    """Return the folder of a lab that ends with the program that starts it."""
    named = named_folder(world_name)
    return named.with_name(f"{named.name}.{secrets.token_hex(3)}")


def folders_of(world_name: str) -> list[Path]:
    """Return the folders of all labs of a world, living or left over."""
    named = named_folder(world_name)
    return [path for path in (named, *sorted(LABS_FOLDER.glob(f"{named.name}.*"))) if path.exists()]


def connect(folder: Path, timeout_s: float | None = None) -> socket.socket | None:
    """Return a connection to a lab, or None if it does not live. It waits ``timeout_s`` seconds for each answer."""
    connection = message_socket()
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(control_of(folder)))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def pid_of(connection: socket.socket) -> int:
    """Return the process at the other end: the lab's, as the kernel knows it."""
    size = struct.calcsize(_CREDENTIALS)
    pid: int = struct.unpack(_CREDENTIALS, connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
    return pid


def remove_lab(folder: Path) -> bool:
    """Kill a lab, if it lives, with all that runs in it, and remove its folder; return whether it lived.

    Raises:
        LabFailed: it does not end.
    """
    connection = connect(folder)
    if connection is not None:
        with connection:
            _kill_listener(connection)
    shutil.rmtree(folder, ignore_errors=True)
    return connection is not None


def _kill_listener(connection: socket.socket) -> None:
    pid = pid_of(connection)
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], _END_TIMEOUT_S)[0]:
                raise LabFailed(f"The lab's process {pid} does not end. Look what it waits for: cat /proc/{pid}/stack")
        finally:
            os.close(descriptor)
