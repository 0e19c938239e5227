"""Orders to those who have a key: the signed request of a queued job, and the token that pays for it."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from gpunode_protocol.digests import SALT_BYTES
from gpunode_protocol.grants import issue_grant
from gpunode_protocol.identity import PeerId
from gpunode_protocol.job_params import read_job_params
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.signing import Signed, open_signed, sign

from gpunode_tracker.entries import reserved_name
from gpunode_tracker.errors import Conflict
from gpunode_tracker.jobs.job import Lease, StoredJob
from gpunode_tracker.jobs.reservations import grant_for
from gpunode_tracker.jobs.seals import JobSeals
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.grants import find_grant
from gpunode_tracker.storage.jobs import keep_request

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

REQUEST_LIFETIME_S: Final = 900
"""A worker with a key has so long for a job: the request's deadline."""


class WorkOrders:
    """Signs with the tracker's dispatch key.

    Args:
        tracker: whose database, keys and sealer are used, as they are at each call.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker

    async def sign(self, job: StoredJob, lease: Lease, peer: PeerId, *, model: str | None = None) -> Signed[JobRequest]:
        """Sign the request that a worker with a key answers, and keep it with the job.

        Args:
            job: with its params, as ``claim_job`` returns it.
            lease: the worker's.
            peer: the worker's key.
            model: what the worker will do it with; None = the job's, or the network's default.

        Raises:
            Conflict: the lease is not in force (any more).
        """
        tracker, now = self._tracker, self._tracker.now
        task, salt, seals = task_of(job.type), secrets.token_bytes(SALT_BYTES), JobSeals(tracker.sealer)
        order = await asyncio.to_thread(lambda: read_job_params(task, seals.params_of(job)).to_order(salt, now))
        request = sign(
            tracker.dispatch,
            JobRequest(
                network=tracker.keys.network,
                job=job.id,
                segment=lease.attempt - 1,
                client=tracker.dispatch.peer_id,
                node=peer,
                grant=await self.grant_token(job, node=peer),
                issued_at=now,
                deadline_at=now + REQUEST_LIFETIME_S,
                task=task,
                model=model or job.model or tracker.settings.default_models[task],
                params=order.params.to_map(),
                salt=salt,
            ),
        )
        sealed = seals.seal_request(job.id, request.envelope)
        async with tracker.database.write() as connection:
            if not await keep_request(connection, lease, sealed):
                raise Conflict("The job is not yours any more.")
        return request

    def read(self, job: StoredJob) -> Signed[JobRequest] | None:
        """Return the signed request of a job's newest lease, None if there was none. Raises KeysUnusable."""
        envelope = JobSeals(self._tracker.sealer).request_of(job)
        return open_signed(JobRequest, envelope, self._tracker.dispatch.public_key) if envelope is not None else None

    async def grant_token(self, job: StoredJob, *, node: PeerId | None = None) -> str:
        """Return the token by which a node is paid from a job's reservation, valid for an hour at most.

        node: the only one that may use it; None = any.

        Raises:
            Conflict: the reservation has gone back, the job having ended.
        """
        tracker, now = self._tracker, self._tracker.now
        async with tracker.database.read() as connection:
            reservation = await find_grant(connection, job.jti or "")
            if reservation is None or reservation.returned_at is not None:
                raise Conflict("The job has ended; what was reserved for it has gone back.")
            left = await ledger.balance(connection, reserved_name(reservation.jti))
        grant = grant_for(reservation, left, network=tracker.keys.network, node=node, now=now)
        kid, signer = tracker.keys.signer(now)
        return issue_grant(grant, signer=signer, kid=kid)
