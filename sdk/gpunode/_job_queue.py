"""Jobs in the tracker's queue: submitted, followed, fetched and cancelled over HTTP alone, without the mesh."""

import asyncio
import base64
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from gpunode_protocol import jobs_api as api
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import first_problem
from pydantic import ValidationError

from gpunode._event_lines import EventLines
from gpunode._input_files import read_input
from gpunode._refusals import not_valid
from gpunode._retry import Patience
from gpunode._tracker import ATTEMPTS, CallLimits, TrackerClient
from gpunode.errors import InvalidRequest, TrackerBusy, TrackerUnreachable
from gpunode.types import QueueEvent

LARGE_TIMEOUT_S: Final = 180.0
"""For whole submissions and results, which may hold files of some dozens of megabytes."""
MAX_RESULT_BYTES: Final = 256 * 1024 * 1024
SILENCE_S: Final = 45.0
"""The tracker says something every 15 s; a stream that is silent for longer is dead."""
_FILES: Final = ("audio", "image", "mask")


class JobQueue:
    """The queue of one tracker.

    Args:
        tracker: how it is reached, with an API key.
    """

    def __init__(self, tracker: TrackerClient) -> None:
        self._tracker = tracker
        self._random = SystemRandom()

    async def submit(self, task: Task, params: Mapping[str, Any], **wishes: Any) -> api.JobTicket:
        """Submit a job; when the answer is lost it is sent again, and still made once.

        Args:
            task: the job's type.
            params: see ``gpunode_protocol.job_params``; files as paths, bytes or base64.
            wishes: region, priority, model, webhook; what is None is left out.

        Raises:
            InvalidRequest: nothing was sent. TrackerError: it was refused.
        """
        value = await asyncio.to_thread(_with_files, params)
        wishes = {name: given for name, given in wishes.items() if given is not None}
        try:
            body = api.JobSubmission(type=task, params=value, **wishes)
        except ValidationError as error:
            raise not_valid(first_problem(error)) from error
        return await self._tracker.call(
            "POST",
            api.JOBS_PATH,
            api.JobTicket,
            body=body,
            keyed=True,
            headers={api.IDEMPOTENCY_KEY_HEADER: secrets.token_hex(16)},
            limits=CallLimits(LARGE_TIMEOUT_S),
        )

    async def view(self, job_id: str) -> api.JobView:
        """Return a job, with its result once it has completed."""
        return await self._tracker.call(
            "GET",
            _path(api.JOB_PATH, job_id),
            api.JobView,
            keyed=True,
            limits=CallLimits(LARGE_TIMEOUT_S, MAX_RESULT_BYTES),
        )

    async def page(self, **filters: str | int | None) -> api.JobsPage:
        """Return own jobs, newest first; filters: status, type, cursor, limit."""
        query = {name: str(value) for name, value in filters.items() if value is not None}
        return await self._tracker.call("GET", api.JOBS_PATH, api.JobsPage, query=query, keyed=True)

    async def cancel(self, job_id: str) -> api.JobView:
        """Cancel a job.

        Raises:
            TrackerError: status 409: it has completed or failed.
        """
        return await self._tracker.call("DELETE", _path(api.JOB_PATH, job_id), api.JobView, keyed=True)

    async def events(self, job_id: str) -> AsyncGenerator[QueueEvent, None]:
        """Yield what happens to a job, ``done`` last; a stream that breaks off is taken up again.

        Raises:
            TrackerError: there is no such job. TrackerUnreachable, TrackerBusy: it stays away.
        """
        patience, told = Patience(ATTEMPTS, self._random), QueueEvent("", {})
        while True:
            problem: TrackerUnreachable | TrackerBusy
            try:
                async with aclosing(self._stream(job_id)) as events:
                    async for event in events:
                        if event.name == api.JobEventName.ERROR:
                            break  # the next request is refused for the same reason, if that is still so
                        patience = Patience(ATTEMPTS, self._random)
                        if event != told or event.is_output:  # a new stream begins with the present state
                            yield event
                        if event.name == api.JobEventName.DONE:
                            return
                        told = told if event.is_output else event
                problem = TrackerUnreachable("The tracker ended the job's events before the job has ended.")
            except (TrackerUnreachable, TrackerBusy) as error:
                problem = error
            pause_s = patience.after_failure(getattr(problem, "retry_after_s", None))
            if pause_s is None:
                raise problem
            await self._tracker.pause(pause_s)

    async def _stream(self, job_id: str) -> AsyncGenerator[QueueEvent, None]:
        lines = EventLines()
        path = _path(api.JOB_EVENTS_PATH, job_id)
        async with aclosing(self._tracker.stream(path, silence_s=SILENCE_S)) as pieces:
            async for piece in pieces:
                for event in lines.feed(piece):
                    yield event

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> api.JobView:
        """Return a job once it has ended.

        Args:
            job_id: of the job.
            timeout_s: how long to wait at most; None = as long as it takes.

        Raises:
            TimeoutError: it has not ended by then. Others as in ``events``.
        """
        async with asyncio.timeout(timeout_s), aclosing(self.events(job_id)) as events:
            async for _ in events:
                pass
        return await self.view(job_id)


def _path(path: str, job_id: str) -> str:
    if not job_id or not all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in job_id):
        raise InvalidRequest(f"{job_id[:64]!r} is not the id of a job.")
    return path.format(job=job_id)


def _with_files(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with files as base64. Raises InvalidRequest: one cannot be read."""
    return {name: _encoded(name, value) if name in _FILES else value for name, value in params.items()}


def _encoded(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        value = read_input(value, name)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
