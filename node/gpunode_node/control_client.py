"""Asking the running daemon, from another process of the same user."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpunode_node.control_transport import ControlTransport, control_transport
from gpunode_node.errors import ControlRefused, DaemonNotRunning

TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 1024 * 1024


def ask_daemon(
    path: Path,
    command: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    transport: ControlTransport | None = None,
) -> dict[str, Any]:
    """Send one command to the daemon at a control socket and return its result; transport: None = this platform's.

    Raises:
        DaemonNotRunning: nothing answers there. ControlRefused: the daemon's error.
    """
    not_running = DaemonNotRunning(
        f"No node answers at {path}. Start one with `gpunode start`, or name its folder with --data-dir."
    )
    try:
        with (transport or control_transport()).connect(path, TIMEOUT_S) as connection:
            connection.sendall(json.dumps({"command": command, "arguments": dict(arguments or {})}).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline(_MAX_ANSWER_BYTES))
    except (OSError, ValueError) as error:
        raise not_running from error
    if not answer.get("ok"):
        raise ControlRefused(str(answer.get("error") or ControlRefused.__doc__))
    result: dict[str, Any] = answer["result"]
    return result
