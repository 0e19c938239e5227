"""Asking the running daemon, from another process of the same user."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpunode_node.errors import ControlRefused, DaemonNotRunning

TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 1024 * 1024


def ask_daemon(path: Path, command: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send one command to the daemon at a control socket and return its result.

    Raises:
        DaemonNotRunning: nothing answers there. ControlRefused: the daemon's error.
    """
    not_running = DaemonNotRunning(
        f"No node answers at {path}. Start one with `gpunode start`, or name its folder with --data-dir."
    )
    try:
        if path.lstat().st_uid != os.getuid():  # in a shared folder the name could be somebody else's
            raise not_running
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(json.dumps({"command": command, "arguments": dict(arguments or {})}).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline(_MAX_ANSWER_BYTES))
    except (OSError, ValueError) as error:
        raise not_running from error
    if not answer.get("ok"):
        raise ControlRefused(str(answer.get("error") or ControlRefused.__doc__))
    result: dict[str, Any] = answer["result"]
    return result
