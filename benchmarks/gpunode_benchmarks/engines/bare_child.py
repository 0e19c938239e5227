"""The parent's end of a library alone in processes, beside which an engine is measured; imports no ML library itself.

Their protocol: see ``bare.service``.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpunode_engines.child_process import child_environment

from gpunode_benchmarks.errors import BenchmarkFailed

_ANSWER_TIMEOUT_S = 120.0


class BareChild:
    """A process with a loaded model."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, errors: Path) -> None:
        self._reader = reader
        self._writer = writer
        self._errors = errors

    async def wait_ready(self) -> None:
        """Wait until the model is loaded. Raises BenchmarkFailed when it cannot be."""
        await self._receive()

    async def run(self, order: Mapping[str, Any]) -> float:
        """Have an order done and return the seconds that it took, as the child measured them.

        Raises:
            BenchmarkFailed: the child ended or did not answer.
        """
        with contextlib.suppress(ConnectionError):  # ``_receive`` tells why the child has gone
            self._writer.write(json.dumps(order).encode() + b"\n")
            await self._writer.drain()
        return float((await self._receive())["elapsed_s"])

    async def _receive(self) -> dict[str, Any]:
        try:
            line = await asyncio.wait_for(self._reader.readline(), _ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise BenchmarkFailed(f"The bare library did not answer within {_ANSWER_TIMEOUT_S:g} s.") from error
        except ConnectionError:
            line = b""
        if not line:
            raise BenchmarkFailed(f"The bare library's process ended: {await asyncio.to_thread(self._last_words)}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """Return the last line that was written to stderr: of a traceback, the one that names the exception."""
        lines = self._errors.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no message")


@contextlib.asynccontextmanager
async def bare_children(module: str, load: Mapping[str, Any], count: int) -> AsyncIterator[Sequence[BareChild]]:
    """Start processes, wait until each has loaded its model, and end them with the context.

    They get the environment that every engine's child gets, but not what ``supervisor.ENVIRONMENTS`` adds for one
    backend (how its threads wait, how memory is kept): that is the engine's own doing, and its gain is in the ratio.

    Args:
        module: what is run. load: its first argument, as JSON.
        count: processes; the library is imported by the first one only, which forks the others.

    Raises:
        BenchmarkFailed: the model cannot be loaded.
    """
    async with contextlib.AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpunode-bench-")))
        errors = scratch / "stderr"
        pairs = [socket.socketpair() for _ in range(count)]
        theirs = [their.fileno() for _, their in pairs]
        try:
            with errors.open("wb") as stderr:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-P", "-m", module, json.dumps(dict(load)), *map(str, theirs)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    cwd=scratch,
                    env=child_environment(os.environ, scratch),
                    pass_fds=theirs,
                    start_new_session=True,  # Ctrl-C at the terminal reaches this process, which ends its children
                )
        finally:
            for _, their in pairs:
                their.close()
        stack.push_async_callback(_end, process)
        children = [await _connected(stack, mine, errors) for mine, _ in pairs]
        for child in children:
            await child.wait_ready()
        yield children


async def _connected(stack: contextlib.AsyncExitStack, mine: socket.socket, errors: Path) -> BareChild:
    reader, writer = await asyncio.open_connection(sock=mine)

    async def close() -> None:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    stack.push_async_callback(close)
    return BareChild(reader, writer, errors)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the process and those that it forked, which are of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
