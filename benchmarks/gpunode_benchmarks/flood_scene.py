"""One flood: the attacker's process, the phases, and what is seen of node and honest streams meanwhile."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # -- ships no annotations
from gpunode.demo.children import Children, DemoFailed
from gpunode.demo.network import read_when_ready
from gpunode_node.control_client import ask_daemon
from gpunode_node.node_folder import NodeFolder

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.flood_attacker import SOCKET
from gpunode_benchmarks.flood_honest import HonestStreams, honest_streams
from gpunode_benchmarks.flood_rates import Span
from gpunode_benchmarks.overhead_network import NODE_FOLDER, OverheadNetwork
from gpunode_benchmarks.resident_memory import Resident, resident_of

OPENING_LIMIT_S: Final = 12.0
"""What is not open by then counts as not opened."""

_ATTACKER_MODULE: Final = "gpunode_benchmarks.flood_attacker"
_ANSWER_TIMEOUT_S: Final = 40.0
_MEMORY_EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds. warm_up: before anything counts. before, held, after: of these phases. look: for streams that end."""

    warm_up_s: float = 2.0
    before_s: float = 6.0
    held_s: float = 8.0
    look_s: float = 0.5
    after_s: float = 11.0  #: a recovery that takes its 10 s can still be seen


@dataclass(frozen=True, slots=True)
class FloodRun:
    """What was seen.

    spans: of the phases ``before``, ``opening``, ``held`` and ``after``, monotonic seconds. memory: of the node, with
    the time. attacker: what it says of its streams (``flood_attacker``). restarts: of the node's p2pd.
    """

    honest: HonestStreams
    spans: Mapping[str, Span]
    memory: tuple[tuple[float, Resident], ...]
    attacker: Mapping[str, float]
    restarts: int


@contextlib.contextmanager
def attacker_of(network: OverheadNetwork, nice: int) -> Iterator[Path]:
    """Start an attacker of the network's node, 0 to 19 nice; return the path of the socket that takes its orders.

    Raises:
        BenchmarkFailed: it ended early or was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name:  # short: below it are Unix sockets
        folder = Path(name)
        victim = {key: network.run[key] for key in ("peer_id", "addresses")}
        order = victim | {"folder": name, "nice": nice}
        try:
            with Children(folder) as children:
                children.start("attacker", [json.dumps(order)], module=_ATTACKER_MODULE)
                read_when_ready(folder, children)
                yield folder / SOCKET
        except DemoFailed as error:
            raise BenchmarkFailed(str(error)) from error


async def flood(network: OverheadNetwork, attacker: Path, idle_streams: int, durations: Durations) -> FloodRun:
    """Let honest streams run, flood the node, hold the flood, let it go.

    Args:
        network: serves the paced model.
        attacker: its socket.
        idle_streams: how many it opens.
        durations: of the phases; that of opening is up to the attacker, within ``OPENING_LIMIT_S``.

    Raises:
        BenchmarkFailed: the attacker or the node ended.
        GpunodeError: the clients found no node.
    """
    memory: list[tuple[float, Resident]] = []
    async with honest_streams(network) as honest, _orders(attacker) as orders:
        await asyncio.sleep(durations.warm_up_s)
        watching = asyncio.create_task(_watch_memory(network.run["pid"], memory))
        marks = [time.monotonic()]
        await asyncio.sleep(durations.before_s)
        marks.append(time.monotonic())
        opened = await orders.give({"open": idle_streams, "limit_s": OPENING_LIMIT_S})
        marks.append(time.monotonic())
        await asyncio.sleep(durations.held_s)
        marks.append(time.monotonic())
        seen = await orders.give({"look": durations.look_s})
        await orders.give({"close": True})
        closed_at = time.monotonic()
        await asyncio.sleep(durations.after_s)
        ended_at = time.monotonic()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        restarts = await asyncio.to_thread(_restarts, network)
    spans = {name: Span(*marks[place : place + 2]) for place, name in enumerate(("before", "opening", "held"))}
    spans["after"] = Span(closed_at, ended_at)
    return FloodRun(honest, spans, tuple(memory), opened | seen, restarts)


async def _watch_memory(pid: int, taken: list[tuple[float, Resident]]) -> None:
    """Note the node's memory until cancelled."""
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):  # its p2pd may end between two looks
            taken.append((time.monotonic(), resident_of(pid)))
        await asyncio.sleep(_MEMORY_EVERY_S)


def _restarts(network: OverheadNetwork) -> int:
    restarts: int = ask_daemon(NodeFolder(network.folder / NODE_FOLDER).control, "status")["mesh"]["restarts"]
    return restarts


class _Orders:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def give(self, order: Mapping[str, Any]) -> dict[str, float]:
        """Give the attacker an order and return its answer."""
        self._writer.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            line = await self._reader.readline()
        if not line:
            raise BenchmarkFailed("The attacker did not reach the node or ended. Run it again.")
        answer: dict[str, float] = json.loads(line)
        return answer


@contextlib.asynccontextmanager
async def _orders(socket: Path) -> AsyncIterator[_Orders]:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        yield _Orders(reader, writer)
    finally:
        writer.close()
