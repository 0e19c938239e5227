"""What pull workers and clients do to a long queue: take a job and complete it, submit one."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Final

from gpunode_protocol import jobs_api as api

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.http_line import Answer, HttpLine, request_bytes
from gpunode_benchmarks.tracker.processes import Running
from gpunode_benchmarks.tracker.scene import HELLO, SceneWorker

ANSWER: Final = {
    "response": "Hello! How can I help you?",
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 10, "completion_tokens": 8},
}
SUBMITTERS: Final = 4
_MS_PER_S: Final = 1_000


async def measure_next_job(tracker: Running, worker: SceneWorker, count: int) -> Sequence[float]:
    """Let a worker take and complete so many jobs; return how long each ``next-job`` took, milliseconds."""
    line = await HttpLine.open("127.0.0.1", tracker.port)
    headers = {"X-Worker-Token": worker.token}
    ask = request_bytes("GET", api.NEXT_JOB_PATH.format(worker=worker.id), headers)
    taken_ms = []
    for _ in range(count):
        began_at = time.perf_counter()
        answer = await line.ask(ask)
        taken_ms.append((time.perf_counter() - began_at) * _MS_PER_S)
        job = api.NextJob.model_validate_json(_checked(answer, "next-job").body)
        if job.job_id is None:
            raise BenchmarkFailed(f"The queue gave no job: {job.reasons}.")
        done = {"success": True, "result": ANSWER, "processing_time": 0.5, "attempt": job.attempt}
        path = api.COMPLETE_PATH.format(job=job.job_id)
        _checked(await line.ask(request_bytes("POST", path, headers, json.dumps(done).encode())), "complete")
    line.close()
    return taken_ms


async def measure_submits(tracker: Running, key: str, seconds: float) -> float:
    """Let some clients submit jobs, each one after the other; return how many were taken in a second."""
    body = json.dumps({"type": "llm", "params": HELLO}).encode()
    request = request_bytes("POST", api.JOBS_PATH, {"Authorization": f"Bearer {key}"}, body)
    lines = [await HttpLine.open("127.0.0.1", tracker.port) for _ in range(SUBMITTERS)]
    began_at = time.perf_counter()
    counts = await asyncio.gather(*(_submit_until(line, request, began_at + seconds) for line in lines))
    elapsed_s = time.perf_counter() - began_at
    for line in lines:
        line.close()
    return sum(counts) / elapsed_s


async def _submit_until(line: HttpLine, request: bytes, ends_at: float) -> int:
    count = 0
    while time.perf_counter() < ends_at:
        _checked(await line.ask(request), "a submission")
        count += 1
    return count


def _checked(answer: Answer, what: str) -> Answer:
    if answer.status not in (200, 201, 202):
        raise BenchmarkFailed(f"The tracker answered {answer.status} to {what}: {answer.body[:200]!r}.")
    return answer
