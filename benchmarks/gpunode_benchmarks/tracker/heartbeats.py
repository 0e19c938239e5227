"""Heartbeats of many pull workers at the rate at which they come, and the processor time that they cost."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from gpunode_protocol import jobs_api

from gpunode_benchmarks.tracker.filling import GPU_MEMORY_GB, MEMORY_USED_GB, FilledWorker
from gpunode_benchmarks.tracker.http_line import HttpLine, http_line, request_bytes
from gpunode_benchmarks.tracker.server_process import ServerProcess

LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """What was seen.

    Args:
        core_share: processor seconds of the tracker's process a second, everything that it does besides included.
        per_s: heartbeats a second that were answered.
        took_ms: each one's, from the instant at which it was due to the answer.
    """

    core_share: float
    per_s: float
    took_ms: tuple[float, ...]


async def measure_heartbeats(
    tracker: ServerProcess, workers: Sequence[FilledWorker], *, per_s: float, duration_s: float
) -> Heartbeats:
    """Send heartbeats evenly, each of the next worker.

    Raises:
        BenchmarkFailed: one was refused.
    """
    count = round(per_s * duration_s)
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(http_line(tracker.address)) for _ in range(LINES)]
        began_at, cpu_s = time.perf_counter(), tracker.cpu_s()
        turns = [
            [(began_at + number / per_s, workers[number % len(workers)]) for number in range(first, count, LINES)]
            for first in range(LINES)
        ]
        took = await asyncio.gather(*(_beat(line, turn) for line, turn in zip(lines, turns, strict=True)))
        await asyncio.sleep(max(0.0, began_at + duration_s - time.perf_counter()))
        elapsed_s, used_s = time.perf_counter() - began_at, tracker.cpu_s() - cpu_s
    return Heartbeats(used_s / elapsed_s, count / elapsed_s, tuple(each for of_line in took for each in of_line))


async def _beat(line: HttpLine, turn: Sequence[tuple[float, FilledWorker]]) -> list[float]:
    took_ms = []
    for due_at, worker in turn:
        await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
        await line.ask(heartbeat_request(worker))
        took_ms.append(1_000 * (time.perf_counter() - due_at))
    return took_ms


def heartbeat_request(worker: FilledWorker) -> bytes:
    """Return what an idle worker sends once a minute."""
    memory = jobs_api.GpuInfo(memory_used=MEMORY_USED_GB, memory_total=GPU_MEMORY_GB)
    body = jobs_api.WorkerHeartbeat(status="online", gpu_info=memory).model_dump_json(exclude_none=True).encode()
    path = jobs_api.WORKER_HEARTBEAT_PATH.format(worker=worker.id)
    return request_bytes("POST", path, body, X_Worker_Token=worker.token)
