"""Pull workers that take jobs out of the long queue, one after another."""

import json
import time
from collections.abc import Sequence

from gpunode_protocol import jobs_api

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.filling import FilledWorker
from gpunode_benchmarks.tracker.http_line import Address, http_line, request_bytes


async def measure_takes(
    address: Address, workers: Sequence[FilledWorker], takes: int, *, are_signed: bool = False
) -> list[float]:
    """Return the milliseconds from each request for the next job to the whole answer, which always has a job.

    Args:
        address: of the tracker.
        workers: who ask, in turn, over one connection.
        takes: jobs of each; a worker may hold four.
        are_signed: whether each must come with a request that the tracker signed.

    Raises:
        BenchmarkFailed: a worker got no job, or one that is not signed.
    """
    taken_ms = []
    async with http_line(address) as line:
        for _ in range(takes):
            for worker in workers:
                request = request_bytes(
                    "GET", jobs_api.NEXT_JOB_PATH.format(worker=worker.id), X_Worker_Token=worker.token
                )
                asked_at = time.perf_counter()
                body = await line.ask(request)
                taken_ms.append(1_000 * (time.perf_counter() - asked_at))
                if ("request" if are_signed else "job_id") not in json.loads(body):
                    raise BenchmarkFailed(f"A worker got no job: {body[:300].decode()}")
    return taken_ms
