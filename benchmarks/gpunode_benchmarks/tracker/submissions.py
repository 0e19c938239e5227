"""Clients that submit small jobs as fast as the tracker takes them."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from gpunode_protocol import jobs_api
from gpunode_protocol.tasks import Task

from gpunode_benchmarks.tracker.http_line import Address, HttpLine, http_line, request_bytes

SUBMISSION: Final = jobs_api.JobSubmission(
    type=Task.LLM, params={"messages": [{"role": "user", "content": "What is 6 times 7?"}], "max_tokens": 16}
)
"""A small job for anybody."""


@dataclass(frozen=True, slots=True)
class Submissions:
    """per_s: jobs a second. took_ms: each one's, from the request to the whole answer."""

    per_s: float
    took_ms: tuple[float, ...]


async def measure_submissions(address: Address, api_key: str, *, lines: int, duration_s: float) -> Submissions:
    """Submit chats over some connections of one account, one after the other on each.

    Raises:
        BenchmarkFailed: one was refused.
    """
    body = SUBMISSION.model_dump_json(exclude_none=True).encode()
    request = request_bytes("POST", jobs_api.JOBS_PATH, body, Authorization=f"Bearer {api_key}")
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(http_line(address)) for _ in range(lines)]
        began_at = time.perf_counter()
        took = await asyncio.gather(*(_submit_until(line, request, began_at + duration_s) for line in opened))
        elapsed_s = time.perf_counter() - began_at
    took_ms = tuple(each for of_line in took for each in of_line)
    return Submissions(len(took_ms) / elapsed_s, took_ms)


async def _submit_until(line: HttpLine, request: bytes, ends_at: float) -> list[float]:
    took_ms: list[float] = []
    while not took_ms or time.perf_counter() < ends_at:
        asked_at = time.perf_counter()
        await line.ask(request)
        took_ms.append(1_000 * (time.perf_counter() - asked_at))
    return took_ms
