"""Look-ups at the tracker beside a bare handler that answers the same bytes, in turn."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from gpunode_protocol import jobs_api, tracker_api

from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.filling import Filled
from gpunode_benchmarks.tracker.http_line import HttpLine, http_line, request_bytes
from gpunode_benchmarks.tracker.index_nodes import MODEL
from gpunode_benchmarks.tracker.server_process import ServerProcess

OPEN: Final = ("regions", "nodes")
"""What anybody may look up."""
WITH_KEY: Final = "worker"
"""What only accounts may, and the worker itself."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a server did in one round. per_s: requests a second. cpu_ms: processor time of the server for each."""

    per_s: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class LookupRounds:
    """One look-up's rounds, and how large its answer is."""

    body_bytes: int
    tracker: tuple[Pace, ...]
    bare: tuple[Pace, ...]


def lookup_paths(filled: Filled) -> dict[str, str]:
    """Return what is looked up, by name: regions, the signed index of a model's nodes, one pull worker."""
    return {
        "regions": tracker_api.REGIONS_PATH,
        "nodes": f"{tracker_api.NODES_PATH}?task=llm&model={MODEL}",
        "worker": jobs_api.WORKER_PATH.format(worker=filled.workers[0].id),
    }


def lookup_request(path: str, api_key: str) -> bytes:
    """Return the request for a look-up, with the API key that clients send with each."""
    return request_bytes("GET", path, Authorization=f"Bearer {api_key}")


async def measure_lookup(tracker: ServerProcess, bare: ServerProcess, request: bytes, effort: Effort) -> LookupRounds:
    """Let both servers answer as fast as they can, in turn; every second round the other way round.

    Raises:
        BenchmarkFailed: an answer was an error.
    """
    paces: Mapping[ServerProcess, list[Pace]] = {tracker: [], bare: []}
    async with AsyncExitStack() as stack:
        lines = {
            server: [await stack.enter_async_context(http_line(server.address)) for _ in range(effort.lines)]
            for server in paces
        }
        bodies = [await lines[server][0].ask(request) for server in paces]  # made now, and remembered later
        for number in range(effort.rounds):
            for server in (tracker, bare) if number % 2 == 0 else (bare, tracker):
                pace = await _pace(server, lines[server], request, effort.round_s)
                paces[server].append(pace)
    return LookupRounds(len(bodies[0]), tuple(paces[tracker]), tuple(paces[bare]))


async def _pace(server: ServerProcess, lines: list[HttpLine], request: bytes, duration_s: float) -> Pace:
    began_at, cpu_s = time.perf_counter(), server.cpu_s()
    counts = await asyncio.gather(*(line.ask_until(request, began_at + duration_s) for line in lines))
    count, elapsed_s = sum(counts), time.perf_counter() - began_at
    return Pace(count / elapsed_s, 1_000 * (server.cpu_s() - cpu_s) / count)
