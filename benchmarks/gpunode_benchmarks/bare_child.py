"""The parent's end of a library alone in a process, beside which an engine is measured; imports no ML library itself.

Its protocol: one JSON line from the child when the model is loaded, then one for each JSON line that it is sent.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from gpunode_engines.child_process import child_environment

from gpunode_benchmarks.errors import BenchmarkFailed

_ANSWER_TIMEOUT_S = 120.0


class BareChild:
    """A child process with a loaded model."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors

    async def wait_ready(self) -> None:
        """Wait until the model is loaded. Raises BenchmarkFailed when it cannot be."""
        await self._receive()

    async def run(self, order: Mapping[str, Any]) -> float:
        """Have an order done and return the seconds that it took, as the child measured them.

        Raises:
            BenchmarkFailed: the child ended or did not answer.
        """
        stdin = self._process.stdin
        if stdin is None:
            raise BenchmarkFailed
        with contextlib.suppress(ConnectionError):  # ``_receive`` tells why the child has gone
            stdin.write(json.dumps(order).encode() + b"\n")
            await stdin.drain()
        return float((await self._receive())["elapsed_s"])

    async def _receive(self) -> dict[str, Any]:
        stdout = self._process.stdout
        if stdout is None:
            raise BenchmarkFailed
        try:
            line = await asyncio.wait_for(stdout.readline(), _ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise BenchmarkFailed(f"The bare library did not answer within {_ANSWER_TIMEOUT_S:g} s.") from error
        if not line:
            code = await self._process.wait()
            raise BenchmarkFailed(f"The bare library's process ended with status {code}: {self._last_words()}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """Return the last line that the child wrote to stderr: of a traceback, the one that names the exception."""
        lines = self._errors.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no message")


@contextlib.asynccontextmanager
async def bare_child(module: str, load: Mapping[str, Any]) -> AsyncIterator[BareChild]:
    """Start a child, wait until it has loaded the model, and end it with the context.

    It gets the environment that the engine's child gets, so that both sides run under the same conditions.

    Args:
        module: what is run.
        load: its first argument, as JSON.

    Raises:
        BenchmarkFailed: the model cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as folder:
        scratch = Path(folder)
        errors = scratch / "stderr"
        with errors.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", module, json.dumps(dict(load))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=scratch,
                env=child_environment(os.environ, scratch),
                start_new_session=True,  # Ctrl-C at the terminal reaches this process, which ends its children
            )
        try:
            bare = BareChild(process, errors)
            await bare.wait_ready()
            yield bare
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
