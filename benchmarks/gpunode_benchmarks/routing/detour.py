"""The same small job twice: straight to a node, and through the tracker's queue, which may be on another continent."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpunode import AsyncInferenceClient
from gpunode_protocol.jobs_api import JobEventName
from gpunode_protocol.tasks import Task

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.paced_backend import TOKEN_BYTES

PROMPT_TOKENS: Final = 100
OUTPUT_TOKENS: Final = 8
_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Detour:
    """One pair of jobs, ms from the call. first: until the first token; whole: until the job's end."""

    direct_first_ms: float
    direct_whole_ms: float
    queued_first_ms: float
    queued_whole_ms: float


async def take_detours(client: AsyncInferenceClient, model: str, region: str, count: int) -> list[dict[str, float]]:
    """Do so many pairs, one job after the other; return the fields of ``Detour`` for each.

    Args:
        client: connected; it has done a job at a node before.
        model: what to ask for.
        region: where the tracker is to look, which does not know how far the client is from each node.

    Raises:
        BenchmarkFailed: the queue did not complete a job.
    """
    return [
        _fields("direct", await _direct_ms(client, model)) | _fields("queued", await _queued_ms(client, model, region))
        for _ in range(count)
    ]


def _fields(name: str, times_ms: Sequence[float]) -> dict[str, float]:
    first_ms, whole_ms = times_ms
    return {f"{name}_first_ms": first_ms, f"{name}_whole_ms": whole_ms}


async def _direct_ms(client: AsyncInferenceClient, model: str) -> tuple[float, float]:
    asked_at = time.monotonic()
    result = await client.chat(**_params(), model=model)
    return result.ttft_ms, (time.monotonic() - asked_at) * _MS_PER_S


async def _queued_ms(client: AsyncInferenceClient, model: str, region: str) -> tuple[float, float]:
    asked_at = time.monotonic()
    ticket = await client.submit_job(Task.LLM, _params(), region=region, model=model)
    first_ms: float | None = None
    async for event in client.job_events(ticket.job_id):
        now_ms = (time.monotonic() - asked_at) * _MS_PER_S
        if event.name == JobEventName.TOKENS and first_ms is None:
            first_ms = now_ms
        elif event.name == JobEventName.DONE:
            if event.data["status"] != "completed":
                raise BenchmarkFailed(f"A job through the tracker's queue is {event.data['status']}. Run it again.")
            # a job that was done before its events were asked for shows its whole answer at once
            return now_ms if first_ms is None else first_ms, now_ms
    raise BenchmarkFailed("A job through the tracker's queue did not end. Run it again.")


def _params() -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "x" * (TOKEN_BYTES * PROMPT_TOKENS)}],
        "max_tokens": OUTPUT_TOKENS,
    }
