"""Taking jobs out of the queue for pull workers."""

import logging
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from gpunode._model_names import served_name
from gpunode_protocol.errors import JobError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.jobs_api import JobEventName, NextJob
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tasks import Task

from gpunode_tracker.errors import Conflict, KeysUnusable
from gpunode_tracker.jobs.estimates import Wanted
from gpunode_tracker.jobs.job import Lease, StoredJob, worker_holder
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.storage.attempts import queued_again_after
from gpunode_tracker.storage.claim_statements import ALONE_SHUN_S, ANY_AGE, SHUN_S, OlderOnly
from gpunode_tracker.storage.jobs import claim_job, queued_by_lane
from gpunode_tracker.storage.queue_heads import Head, queue_heads
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.reasons import Reason, reasons_for, serves

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

MAX_LANES: Final = 64
"""Lanes that one poll looks into, those first whose jobs go first; the others' turn comes when these are empty."""
LANES_LAST_S: Final = 2.0
"""Lanes are read anew when the queue grew, when a worker finds nothing in those that are known, and after this time:
another replica's word of a new one may be lost (see ``waiting.LOOK_INTERVAL_S``)."""
COUNTS_LAST_S: Final = 5.0
"""Counting the queue walks over all of it, so the counts in reasons may be this old."""


class JobTaking:
    """Takes jobs for workers, and says why there is none.

    Args:
        tracker: whose queue, desk and news are used, as they are at each call.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker
        self._heads: tuple[Head, ...] = ()
        self._heads_of = -1
        self._heads_at = float("-inf")
        self._counts: dict[str, int] = {}
        self._counted_at = float("-inf")

    def blocked(self, worker: LiveWorker) -> Reason | None:
        """Return why a worker is given nothing now, whatever there is."""
        if not worker.may_work:
            return Reason.MAINTENANCE
        if worker.stored.peer is not None and not self._tracker.keys.can_sign(self._tracker.now):
            return Reason.CANNOT_SIGN  # a job that was claimed for it would fail
        return Reason.HOLDS_ENOUGH if len(worker.holding) >= self._most_jobs else None

    def may_take(self, worker: LiveWorker) -> bool:
        """See ``jobs.waiting.Taking``."""
        return self.blocked(worker) is None

    async def take_any(self, worker: LiveWorker) -> NextJob | None:
        """Let a worker hold the first job that it can do; None if there is none for it."""
        if not self.may_take(worker):
            return None
        if self._are_heads_fresh():
            job = await self._take_of(worker, self._heads)
            if job is not None:
                return job
        return await self._take_of(worker, await self._read_heads())

    def _are_heads_fresh(self) -> bool:
        """Return whether the lanes that were read last are all that there are: none came since, as far as is known."""
        age_s = self._tracker.monotonic() - self._heads_at
        return self._heads_of == self._tracker.news.changes and 0 <= age_s < LANES_LAST_S

    async def _read_heads(self) -> tuple[Head, ...]:
        """Return the first jobs of all lanes, those first that go first."""
        changes, read_at = self._tracker.news.changes, self._tracker.monotonic()
        async with self._tracker.database.read() as connection:
            heads = await queue_heads(connection)
        self._heads, self._heads_of, self._heads_at = tuple(heads), changes, read_at
        return self._heads

    async def _take_of(self, worker: LiveWorker, heads: Sequence[Head]) -> NextJob | None:
        """Let a worker hold the first job of those lanes that it serves, and that are not kept for somebody nearer."""
        nearest, kept = self._tracker.workers.nearest, set[str]()

        def has_some(head: Head) -> bool:
            if not serves(worker.stored, head.lane):
                return False
            if nearest.keeps_from_worker(head, worker):
                kept.add(head.lane)
            return head.lane not in kept or head.may_be_before_older

        lanes = [head.lane for head in islice(filter(has_some, heads), MAX_LANES)]
        return await self.take(worker, lanes, nearest.older_only(kept)) if lanes else None

    async def take(
        self,
        worker: LiveWorker,
        lanes: Sequence[str],
        older_only: OlderOnly = ANY_AGE,
    ) -> NextJob | None:
        """Let a worker hold the first job of some lanes; None if there is none for it. older_only: see ``claim_job``.

        A job that cannot be given to anybody, because its parameters cannot be read any more, ends here.

        Raises:
            StorageUnavailable: it holds nothing, or will lose it by its lease.
        """
        while True:
            job = await self._claim(worker, lanes, older_only) or await self._claim_alone(worker, lanes, older_only)
            if job is None:
                return None
            lease = Lease(job_id=job.id, holder=worker_holder(worker.id), attempt=job.attempt)
            try:
                return await self._offer(worker, job, lease)
            except Conflict:  # it was cancelled meanwhile
                self._tracker.workers.presence.release(worker.id, job.id)
            except (KeysUnusable, JobError) as error:
                logger.error("%s", error, extra={"event": "job_unusable", "job": job.id})  # noqa: TRY400 -- it says all
                self._tracker.workers.presence.release(worker.id, job.id)
                await self._tracker.desk.fail(lease, str(error), retryable=False)

    async def put_back(self, worker: LiveWorker, job: NextJob) -> None:
        """Give a job back that did not reach the worker; another try is begun at once."""
        lease = self._released(worker, job)
        if lease is not None:
            await self._tracker.desk.fail(lease, "The worker left before it had got the job.")

    async def undo(self, worker: LiveWorker, job: NextJob) -> None:
        """Give a job back that was not sent to the worker, as if it had not been taken."""
        lease = self._released(worker, job)
        if lease is not None:
            await self._tracker.desk.undo(lease)

    def _released(self, worker: LiveWorker, job: NextJob) -> Lease | None:
        if job.job_id is None or job.attempt is None:
            return None
        self._tracker.workers.presence.release(worker.id, job.job_id)
        return Lease(job_id=job.job_id, holder=worker_holder(worker.id), attempt=job.attempt)

    async def reasons(self, worker: LiveWorker) -> dict[str, int]:
        """Return for each reason how many queued jobs it keeps from a worker."""
        tracker = self._tracker
        async with tracker.database.read() as connection:
            if tracker.monotonic() - self._counted_at > COUNTS_LAST_S:
                self._counts, self._counted_at = await queued_by_lane(connection), tracker.monotonic()
            since = tracker.now - SHUN_S
            failed = await queued_again_after(connection, worker_holder(worker.id), since=since) if self._counts else 0
        return reasons_for(worker.stored, self._counts, failed_here=failed, blocked=self.blocked(worker))

    async def _claim_alone(self, worker: LiveWorker, lanes: Sequence[str], older_only: OlderOnly) -> StoredJob | None:
        """Let a worker hold what it failed a while ago, of lanes for which nobody else is there."""
        alone = [lane for lane in lanes if len((await self._tracker.outlook.supply(Wanted.of_lane(lane))).who) <= 1]
        return await self._claim(worker, alone, older_only, shun_s=ALONE_SHUN_S) if alone else None

    async def _claim(
        self, worker: LiveWorker, lanes: Sequence[str], older_only: OlderOnly, *, shun_s: int = SHUN_S
    ) -> StoredJob | None:
        tracker, holder = self._tracker, worker_holder(worker.id)
        async with tracker.database.write() as connection:
            job = await claim_job(
                connection,
                holder,
                lanes,
                now=tracker.now,
                lease_s=tracker.lease_ends_in_s,
                most=self._most_jobs,
                shun_s=shun_s,
                older_only=older_only,
            )
        if job is not None:
            tracker.workers.presence.hold(worker.id, job.id, job.attempt)
        return job

    async def _offer(self, worker: LiveWorker, job: StoredJob, lease: Lease) -> NextJob:
        """Return what the worker is told of its job."""
        tracker, request = self._tracker, None
        if worker.stored.peer is not None:
            request = await self._request(worker, job, lease, PeerId(worker.stored.peer))
        data = {"attempt": job.attempt, "served_by": lease.holder}
        tracker.news.tell(Word(job.id, JobEventName.RUNNING, data))
        return NextJob(
            job_id=job.id,
            type=Task(job.type),
            params=tracker.desk.params_of(job),
            model=_name_for(worker, job),
            attempt=job.attempt,
            lease_s=tracker.settings.lease_s,
            request=request,
        )

    async def _request(self, worker: LiveWorker, job: StoredJob, lease: Lease, peer: PeerId) -> Envelope:
        served = worker.stored.models
        default = self._tracker.settings.default_models.get(Task(job.type))
        model = _name_for(worker, job) or (default if not served or default in served else served[0])
        return (await self._tracker.desk.signed_request(job, lease, peer, model=model)).envelope

    @property
    def _most_jobs(self) -> int:
        return self._tracker.settings.worker_jobs


def _name_for(worker: LiveWorker, job: StoredJob) -> str | None:
    """Return the model of a job by the name by which a worker serves it; None where the job names none."""
    return None if job.model is None else served_name(job.model, worker.stored.models) or job.model
