"""The clients' methods for jobs in the tracker's queue; ``AsyncInferenceClient`` and ``InferenceClient`` have them."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from gpunode_protocol.jobs_api import JobsPage, JobTicket, JobView
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode._arguments import to_region, to_task
from gpunode._job_queue import JobQueue
from gpunode.types import QueueEvent

T = TypeVar("T")


class AsyncQueueCalls:
    """Jobs that wait at the tracker until somebody can do them; they need no mesh, and outlive the client."""

    def _job_queue(self) -> JobQueue:
        raise NotImplementedError

    async def submit_job(
        self,
        task: Task | str,
        params: Mapping[str, Any],
        *,
        region: Region | str | None = None,
        priority: int = 0,
        model: str | None = None,
        webhook: str | None = None,
    ) -> JobTicket:
        """Put a job into the tracker's queue; what it may cost at most is reserved.

        Args:
            task: ``llm``, ``image_gen``, ``whisper`` or ``embedding``.
            params: such as ``{"messages": […], "max_tokens": 100}``; docs/api.md lists them. Files (``audio``,
                ``image``, ``mask``) as a ``Path``, bytes, or base64 text.
            region: only workers and nodes there; otherwise anywhere, nearest first.
            priority: 0 to 9, 9 goes first.
            model: the network's default when not given.
            webhook: an https address that is told of the job's end.

        Raises:
            InvalidRequest: an argument is not valid; nothing was sent.
            InsufficientCredits, Unauthorized, TrackerError, TrackerUnreachable: it was not taken.
        """
        return await self._job_queue().submit(
            to_task(task), params, region=to_region(region), priority=priority, model=model, webhook=webhook
        )

    async def job(self, job_id: str) -> JobView:
        """Return a queued job as it is now, with its result once it has completed.

        Raises:
            TrackerError: status 404: there is no such job of this account (any more).
        """
        return await self._job_queue().view(job_id)

    async def jobs(
        self,
        *,
        status: str | None = None,
        task: Task | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> JobsPage:
        """Return the account's queued and ended jobs without results, newest first; cursor: of the page before."""
        wanted = None if task is None else to_task(task)
        return await self._job_queue().page(status=status, type=wanted, limit=limit, cursor=cursor)

    async def cancel_job(self, job_id: str) -> JobView:
        """Cancel a job that has not ended; what was reserved for it goes back.

        Raises:
            TrackerError: status 409: it has completed or failed.
        """
        return await self._job_queue().cancel(job_id)

    def job_events(self, job_id: str) -> AsyncGenerator[QueueEvent, None]:
        """Yield what happens to a job: its present state first, ``done`` last. Close it to stop following."""
        return self._job_queue().events(job_id)

    async def wait_for_job(self, job_id: str, *, timeout_s: float | None = None) -> JobView:
        """Return a job once it has ended.

        Raises:
            TimeoutError: it has not ended within ``timeout_s``; it goes on.
        """
        return await self._job_queue().wait(job_id, timeout_s=timeout_s)


class QueueCalls:
    """``AsyncQueueCalls`` for code without an event loop."""

    def _run_queue(self, work: Callable[[AsyncQueueCalls], Coroutine[Any, Any, T]]) -> T:
        raise NotImplementedError

    def submit_job(
        self,
        task: Task | str,
        params: Mapping[str, Any],
        *,
        region: Region | str | None = None,
        priority: int = 0,
        model: str | None = None,
        webhook: str | None = None,
    ) -> JobTicket:
        """Put a job into the tracker's queue; arguments and errors as in ``AsyncInferenceClient.submit_job``."""
        return self._run_queue(
            lambda calls: calls.submit_job(task, params, region=region, priority=priority, model=model, webhook=webhook)
        )

    def job(self, job_id: str) -> JobView:
        """Return a queued job as it is now, with its result once it has completed."""
        return self._run_queue(lambda calls: calls.job(job_id))

    def jobs(
        self,
        *,
        status: str | None = None,
        task: Task | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> JobsPage:
        """Return the account's queued and ended jobs without results, newest first; cursor: of the page before."""
        return self._run_queue(lambda calls: calls.jobs(status=status, task=task, limit=limit, cursor=cursor))

    def cancel_job(self, job_id: str) -> JobView:
        """Cancel a job that has not ended."""
        return self._run_queue(lambda calls: calls.cancel_job(job_id))

    def job_events(self, job_id: str) -> Iterator[QueueEvent]:
        """Yield what happens to a job: its present state first, ``done`` last."""

        async def begin(calls: AsyncQueueCalls) -> AsyncGenerator[QueueEvent, None]:
            return calls.job_events(job_id)

        async def following(events: AsyncGenerator[QueueEvent, None]) -> QueueEvent | None:
            return await anext(events, None)

        events = self._run_queue(begin)
        try:
            while (event := self._run_queue(lambda _: following(events))) is not None:
                yield event
        finally:
            self._run_queue(lambda _: events.aclose())

    def wait_for_job(self, job_id: str, *, timeout_s: float | None = None) -> JobView:
        """Return a job once it has ended. Raises TimeoutError: it has not ended within ``timeout_s``; it goes on."""
        return self._run_queue(lambda calls: calls.wait_for_job(job_id, timeout_s=timeout_s))
