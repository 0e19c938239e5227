"""What tests run on the hosts of a lab."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpunode import AsyncInferenceClient


def add(first: int, second: int) -> int:
    """Return the sum."""
    return first + second


async def double(number: int) -> int:
    """Return twice the number, from a coroutine."""
    return 2 * number


def fail() -> None:
    """Raise an exception with a text that can be found."""
    raise RuntimeError("failed on purpose")


def write_into_a_broken_pipe() -> str:
    """Return the name of the exception that it raises."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        os.write(writer, b"nobody reads this")
    except OSError as error:
        return type(error).__name__
    return ""


def surroundings() -> dict[str, Any]:
    """Return what this process sees of its host."""
    return {
        "devices": sorted(name for _, name in socket.if_nameindex()),
        "network": Path("/proc/self/ns/net").stat().st_ino,
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "descriptors": sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()),
        "modules": sorted(sys.modules),
    }


def reach(address: str, port: int) -> str:
    """Try to connect; return ``connected`` or the kind of error."""
    try:
        socket.create_connection((address, port), timeout=3).close()
    except OSError as error:
        return type(error).__name__ if error.errno is None else f"{type(error).__name__} {error.errno}"
    return "connected"


def wait_for_ever() -> None:
    """Wait for a signal that ends the process."""
    while True:
        signal.pause()


def wait_with_family(ready: str) -> None:
    """Wait, and have a child in a session of its own that ignores SIGTERM; open a named pipe when it has started."""
    code = f"import signal; signal.signal(15, signal.SIG_IGN); open({ready!r}, 'w').close(); signal.pause()"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    wait_for_ever()


def busy_share(wall_s: float) -> float:
    """Compute for some seconds; return the share of them in which this process had a processor."""
    wall, own = time.monotonic(), time.process_time()
    while time.monotonic() < wall + wall_s:
        sum(range(1_000))
    return (time.process_time() - own) / (time.monotonic() - wall)


async def ask(client: dict[str, Any], model: str, tokens: int) -> dict[str, Any]:
    """Ask a question as a user of the SDK; return the answer's length and its route."""
    async with AsyncInferenceClient(**client) as asking:
        answer = await asking.chat(
            messages=[{"role": "user", "content": "Hello!"}], model=model, max_tokens=tokens, temperature=0.0
        )
    route = answer.route
    return {"node": route.node, "rtt_ms": route.rtt_ms, "path": route.path, "tokens": len(answer.ids)}


async def find(client: dict[str, Any], model: str) -> dict[str, float | None]:
    """Return the nodes that a client finds, and their round trips."""
    async with AsyncInferenceClient(**client) as finding:
        return {node.node: node.rtt_ms for node in await finding.nodes(model=model)}
