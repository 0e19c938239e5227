"""Heartbeats of many pull workers, each on a connection of its own as they come once a minute, at a steady pace."""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpunode_protocol import jobs_api as api

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.http_line import HttpLine, request_bytes
from gpunode_benchmarks.tracker.processes import Running
from gpunode_benchmarks.tracker.scene import SceneWorker

INTERVAL_S: Final = 60.0
_IN_FLIGHT: Final = 200


@dataclass(frozen=True)
class HeartbeatCost:
    """core_share: processor seconds of the tracker for each second in which so many come. idle_share: without any.

    seconds: that it took; longer than planned on a machine that is too busy to send them at their pace, whose share is
    still that of the planned time.
    """

    core_share: float
    idle_share: float
    sent: int
    seconds: float


async def measure_heartbeats(
    tracker: Running, workers: Sequence[SceneWorker], *, seconds: float, idle_s: float
) -> HeartbeatCost:
    """Send what all workers together send in some seconds, and compare the tracker's processor time with the clock's.

    Raises:
        BenchmarkFailed: a heartbeat was refused.
    """
    cpu_s, began_at = tracker.cpu_s, time.perf_counter()
    await asyncio.sleep(idle_s)
    idle_share = (tracker.cpu_s - cpu_s) / (time.perf_counter() - began_at)
    pause_s = INTERVAL_S / len(workers)
    count = round(seconds / pause_s)
    gate, tasks = asyncio.Semaphore(_IN_FLIGHT), []
    cpu_s, began_at = tracker.cpu_s, time.perf_counter()
    for number, worker in zip(range(count), itertools.cycle(workers), strict=False):
        await asyncio.sleep(max(0.0, began_at + number * pause_s - time.perf_counter()))
        await gate.acquire()
        tasks.append(asyncio.create_task(_beat(tracker.port, worker, gate)))
    await asyncio.gather(*tasks)
    elapsed_s = time.perf_counter() - began_at
    return HeartbeatCost((tracker.cpu_s - cpu_s) / (count * pause_s), idle_share, count, elapsed_s)


async def _beat(port: int, worker: SceneWorker, gate: asyncio.Semaphore) -> None:
    body = {
        "status": "online",
        "gpu_info": {"memory_used": 4.5, "memory_total": 24},
        "supported_types": ["llm"],
    }
    path = api.WORKER_HEARTBEAT_PATH.format(worker=worker.id)
    headers = {"X-Worker-Token": worker.token, "Connection": "close"}
    try:
        line = await HttpLine.open("127.0.0.1", port)
        answer = await line.ask(request_bytes("POST", path, headers, json.dumps(body).encode()))
        line.close()
    finally:
        gate.release()
    if answer.status != 200:
        raise BenchmarkFailed(f"A heartbeat was answered {answer.status}: {answer.body[:200]!r}.")
