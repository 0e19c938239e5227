"""The tracker's REST interface as a pull worker uses it."""

from collections.abc import Callable
from typing import Final

from gpunode_protocol import jobs_api as api
from gpunode_protocol.payloads import MAX_BLOB_BYTES

from gpunode_node.tracker_client import CallLimits, TrackerClient

ANSWER_MARGIN_S: Final = 10.0
"""What the tracker gets beyond the time of a long poll."""
EVENT_TIMEOUT_S: Final = 5.0
"""What a job tells on its way is soon told again by what comes after it."""
COMPLETION_TIMEOUT_S: Final = 120.0
_JOB_BYTES: Final = 4 * MAX_BLOB_BYTES // 3 + 8 * 1024 * 1024
"""A job with the largest file in base64, its parameters and its signed request."""


class WorkerClient(TrackerClient):
    """One tracker. Every call raises TrackerUnreachable or TrackerRefused."""

    async def enlist(self, body: api.WorkerRegistration) -> api.WorkerCredentials:
        """Register as a pull worker."""
        return await self._call("POST", api.WORKER_REGISTER_PATH, api.WorkerCredentials, body=body, repeat=False)

    async def beat(self, worker_id: str, token: str, body: api.WorkerHeartbeat) -> api.WorkerHeartbeatReply:
        """Say that the worker lives, and renew the leases of what it holds."""
        path = api.WORKER_HEARTBEAT_PATH.format(worker=worker_id)
        return await self._call("POST", path, api.WorkerHeartbeatReply, body=body, token=token)

    async def next_job(
        self, worker_id: str, token: str, wait_s: int, on_answer: Callable[[], None] = lambda: None
    ) -> api.NextJob:
        """Return a job that the worker holds from now on, or why there was none within ``wait_s`` seconds.

        Args:
            on_answer: called when the answer begins to come: the tracker has decided, and a large job is on its way.
        """
        path = f"{api.NEXT_JOB_PATH.format(worker=worker_id)}?wait={wait_s}"
        limits = CallLimits(wait_s + ANSWER_MARGIN_S, _JOB_BYTES, slow_bytes=_JOB_BYTES, on_answer=on_answer)
        return self._read_as(api.NextJob, await self._ask("GET", path, token=token, repeat=False, call=limits))

    async def tell(self, job_id: str, token: str, event: api.WorkerEvent) -> None:
        """Tell how a job goes. Not repeated: text that comes twice is worse than text that comes late."""
        data = event.model_dump_json(exclude_none=True).encode()
        path, limits = api.JOB_EVENTS_PATH.format(job=job_id), CallLimits(EVENT_TIMEOUT_S)
        await self._ask("POST", path, data, token=token, repeat=False, call=limits)

    async def complete(self, job_id: str, token: str, body: bytes) -> api.CompletionReply:
        """Deliver a job's end; body: a ``JobCompletion`` in JSON."""
        path = api.COMPLETE_PATH.format(job=job_id)
        limits = CallLimits(COMPLETION_TIMEOUT_S, slow_bytes=len(body))
        return self._read_as(api.CompletionReply, await self._ask("POST", path, body, token=token, call=limits))
