"""What all processes with a bare library do: load, say so, and answer each line with a line.

Imports nothing of gpunode: the library is to be alone. It is imported once and the process forks before it loads a
model, because importing takes longer than loading.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Model = TypeVar("Model")


def serve(load: Callable[[dict[str, Any]], Model], run: Callable[[Model, dict[str, Any]], float]) -> None:
    """Serve each inherited socket with a process and a model of its own, until it is closed.

    A socket carries a JSON line when the model is loaded, and ``{"elapsed_s": …}`` for each order.

    Args:
        load: gets the first argument, a JSON object. The others are the sockets' file descriptors.
        run: does an order and returns the seconds that it took.
    """
    descriptors = [int(argument) for argument in sys.argv[2:]]
    for descriptor in descriptors[1:]:
        if os.fork() == 0:
            own = descriptor
            break
    else:
        own = descriptors[0]
    for descriptor in descriptors:
        if descriptor != own:
            os.close(descriptor)
    lines = socket.socket(fileno=own).makefile("rw", buffering=1)  # closed by the process's end, after its last words
    model = load(json.loads(sys.argv[1]))
    lines.write('{"ready": true}\n')
    for order in lines:
        lines.write(json.dumps({"elapsed_s": run(model, json.loads(order))}) + "\n")
