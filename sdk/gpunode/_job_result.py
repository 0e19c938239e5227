"""From a job that is done to what every result states."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypedDict

from gpunode_protocol.client_job import Completed, JobEvent

from gpunode._job_run import JobRun
from gpunode._job_wish import JobWish
from gpunode._open_calls import OpenCalls
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


class WholeJobs:
    """Runs jobs of which only the whole result counts.

    Args:
        start: finds nodes and a grant for a wish.
        calls: end when the client closes.
        monotonic: seconds.
    """

    def __init__(
        self, start: Callable[[JobWish], Awaitable[JobRun]], calls: OpenCalls, *, monotonic: Callable[[], float]
    ) -> None:
        self._start = start
        self._calls = calls
        self._monotonic = monotonic

    async def run(self, wish: JobWish, take: Callable[[JobEvent], None]) -> tuple[Completed, JobFacts]:
        """Run a job to its end; ``take`` sees each event. Being cancelled cancels the job.

        Raises:
            NoNodeFound, RequestRefused, AnswerInterrupted, VerificationFailed, ClientError: see ``JobRun.events``.
        """
        started_at = self._monotonic()
        done: Completed | None = None
        async with self._calls.one():
            run = await self._start(wish)
            async with aclosing(run.events()) as events:
                async for event in events:
                    take(event)
                    if isinstance(event, Completed):
                        done = event
        assert done is not None  # noqa: S101 -- events end with Completed or raise
        return done, job_facts(run, done, started_at=started_at, now=self._monotonic())
