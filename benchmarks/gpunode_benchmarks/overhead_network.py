"""A network on loopback for the overhead bench: a tracker, one node with a direct line to its engines, clients."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunode import AsyncInferenceClient
from gpunode.demo.children import Children, DemoFailed
from gpunode.demo.network import make_account, read_when_ready, start_tracker

from gpunode_benchmarks.errors import BenchmarkFailed

_NODE_MODULE = "gpunode_benchmarks.overhead_node"
_REGION = "europe"
NODE_FOLDER = "n"
"""The node's data directory, below the network's folder."""
_LISTEN = "/ip4/127.0.0.1/tcp/0"
_EXPOSURE_CREDITS = 1_000_000
_FIND_TIMEOUT_S = 20.0
_FIND_PAUSE_S = 0.1
_ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class OverheadNetwork:
    """A running tracker and node. run: what the node says of itself (``run.json``)."""

    folder: Path
    url: str
    api_key: str
    socket: Path
    run: dict[str, Any]

    @contextlib.asynccontextmanager
    async def client(self, model: str, number: int | str) -> AsyncIterator[AsyncInferenceClient]:
        """Connect a client that finds the node; each ``number`` is a key of its own."""
        folder = self.folder / f"c{number}"
        async with AsyncInferenceClient(self.url, api_key=self.api_key, state_dir=folder, region=_REGION) as client:
            await client.connect()
            async with asyncio.timeout(_FIND_TIMEOUT_S):
                while not await client.nodes(model=model):  # noqa: ASYNC110 -- an announcement rings no bell here
                    await asyncio.sleep(_FIND_PAUSE_S)
            yield client

    @contextlib.asynccontextmanager
    async def direct_line(self) -> AsyncIterator["DirectCalls"]:
        """Connect to the node's engines."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            yield DirectCalls(reader, writer)
        finally:
            writer.close()


class DirectCalls:
    """Runs jobs straight on the engine that the node serves; see ``overhead_node``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def run(self, model: str, prompts: Sequence[str], output_tokens: int) -> tuple[float, list[float]]:
        """Return the seconds until all were done, and each one's to its first token, measured in the node's process.

        Raises:
            BenchmarkFailed: the node did not answer.
        """
        order = {"model": model, "prompts": list(prompts), "output_tokens": output_tokens}
        self._writer.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            line = await self._reader.readline()
        if not line:
            raise BenchmarkFailed("The node's engine failed in a direct job; run it again.")
        answer = json.loads(line)
        return answer["elapsed_s"], answer["ttft_s"]


@contextlib.contextmanager
def overhead_network(models: Sequence[str]) -> Iterator[OverheadNetwork]:
    """Start tracker and node and wait until both are ready; everything ends with the context.

    Raises:
        BenchmarkFailed: a process ended early or was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name:  # short: below it are Unix sockets
        folder = Path(name)
        try:
            with Children(folder) as children:
                yield _start(folder, children, models)
        except DemoFailed as error:
            raise BenchmarkFailed(str(error)) from error


def _start(folder: Path, children: Children, models: Sequence[str]) -> OverheadNetwork:
    tracker_dir, node_dir, socket = folder / "t", folder / NODE_FOLDER, folder / "direct.sock"
    url = start_tracker(tracker_dir, children)
    settings = {
        "bootstrap": url,
        "model": list(models),
        "region": _REGION,
        "data_dir": str(node_dir),
        "listen": [_LISTEN],
        "quic": False,
        "engine_threads": 1,
        "engine_slots": 8,
        "engine_context_tokens": 1024,
        "engine_gpu": False,
        "exposure_credits": _EXPOSURE_CREDITS,
    }
    order = json.dumps({"settings": settings, "socket": str(socket)})
    children.start("node", [order], module=_NODE_MODULE)
    _, api_key = make_account(children, tracker_dir)
    return OverheadNetwork(folder, url, api_key, socket, read_when_ready(node_dir, children))
