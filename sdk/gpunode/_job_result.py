"""From a job that is done to what every result states."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypedDict

from gpunode_protocol.client_job import Completed, JobEvent

from gpunode._job_run import JobRun
from gpunode.types import JobReceipt, Route, StartTimes


class JobFacts(TypedDict):
    """The fields of ``JobResult``."""

    model: str
    receipt: JobReceipt
    route: Route
    finish_reason: str
    job: str
    found_ms: float
    ttft_ms: float
    duration_ms: float
    start: StartTimes


def job_facts(run: JobRun, done: Completed, *, started_at: float, now: float) -> JobFacts:
    """Return what every result states. started_at: of the call; now: monotonic seconds, both."""
    assert run.route is not None  # noqa: S101 -- a node has answered
    first_at = now if run.first_output_at is None else run.first_output_at
    return JobFacts(
        model=done.receipt.body.model,
        receipt=JobReceipt(id=done.receipt.digest.hex(), receipt=done.receipt, voucher=done.voucher),
        route=run.route,
        finish_reason=done.finish_reason,
        job=run.job.id,
        found_ms=1000 * (run.chosen_at - started_at),
        ttft_ms=1000 * (first_at - started_at),
        duration_ms=1000 * (now - started_at),
        start=run.start,
    )


async def run_whole(
    start: Callable[[], Awaitable[JobRun]], take: Callable[[JobEvent], None], *, monotonic: Callable[[], float]
) -> tuple[Completed, JobFacts]:
    """Run a job to its end; ``take`` sees each event. Being cancelled cancels the job.

    Raises:
        NoNodeFound, RequestRefused, AnswerInterrupted, VerificationFailed, ClientError: see ``JobRun.events``.
    """
    started_at = monotonic()
    run = await start()
    done: Completed | None = None
    events: AsyncGenerator[JobEvent, None] = run.events()
    async with aclosing(events):
        async for event in events:
            take(event)
            if isinstance(event, Completed):
                done = event
    assert done is not None  # noqa: S101 -- events end with Completed or raise
    return done, job_facts(run, done, started_at=started_at, now=monotonic())
