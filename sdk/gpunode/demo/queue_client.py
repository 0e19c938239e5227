"""The tracker's queue as plain HTTP sees it: submit a job, follow it by server-sent events, read its end."""

import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from gpunode_protocol.jobs_api import JOB_EVENTS_PATH, JOB_PATH, JOBS_PATH, JobSubmission, JobTicket, JobView
from gpunode_protocol.tracker_api import Problem
from pydantic import ValidationError

from gpunode.errors import TrackerError, TrackerUnreachable

_SILENCE_S: Final = 60.0
"""A stream that says nothing for so long is cut: the tracker sends a comment far more often."""
_MAX_LINE_BYTES: Final = 1024 * 1024


class QueueClient:
    """One account's jobs. Every call raises TrackerError or TrackerUnreachable.

    Args:
        url: of the tracker, without a slash at the end.
        api_key: of the account.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_S),
            read_bufsize=_MAX_LINE_BYTES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def submit(self, submission: JobSubmission) -> JobTicket:
        """Queue a job."""
        body = submission.model_dump(mode="json", exclude_none=True)
        return JobTicket.model_validate_json(await self._call("POST", JOBS_PATH, body))

    async def job(self, job_id: str) -> JobView:
        """Return how a job is."""
        return JobView.model_validate_json(await self._call("GET", JOB_PATH.format(job=job_id)))

    async def follow(self, job_id: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """Yield name and data of what happens to a job, from how it is now to its end."""
        name = ""
        try:
            async with self._session.get(self._url + JOB_EVENTS_PATH.format(job=job_id)) as response:
                if response.status >= 300:
                    raise _refusal(response.status, await response.read())
                async for line in response.content:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        yield name, json.loads(value)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackerUnreachable(f"The tracker at {self._url} does not answer: {error}") from error

    async def _call(self, method: str, path: str, body: Any = None) -> bytes:
        try:
            async with self._session.request(method, self._url + path, json=body) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackerUnreachable(f"The tracker at {self._url} does not answer: {error}") from error
        if response.status >= 300:
            raise _refusal(response.status, answer)
        return answer


def _refusal(status: int, answer: bytes) -> TrackerError:
    try:
        problem = Problem.model_validate_json(answer)
    except ValidationError:
        return TrackerError(f"The tracker refused the request ({status}).", status=status)
    return TrackerError(problem.detail or problem.title, status=status)
