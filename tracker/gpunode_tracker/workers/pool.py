"""All about pull workers that one tracker process holds. ``Tracker.workers`` is the process's."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gpunode_protocol.jobs_api import NextJob, WorkerRegistration

from gpunode_tracker.audit import Action
from gpunode_tracker.geoip import Place
from gpunode_tracker.jobs.job import Lease, worker_holder
from gpunode_tracker.jobs.lease_renewals import LeaseRenewals
from gpunode_tracker.jobs.waiting import WaitingPolls
from gpunode_tracker.storage import workers
from gpunode_tracker.storage.accounts import secret_hash
from gpunode_tracker.storage.attempts import held_by
from gpunode_tracker.workers.completing import Completing
from gpunode_tracker.workers.live_sync import LiveSync
from gpunode_tracker.workers.nearest_first import NearestFirst
from gpunode_tracker.workers.outcomes import Outcomes
from gpunode_tracker.workers.presence import LiveWorker, Presence
from gpunode_tracker.workers.registration import RegisteredWorker, WorkerRegistrar, note
from gpunode_tracker.workers.taking import JobTaking
from gpunode_tracker.workers.tokens import TokenCache

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

LOOKS: Final = 3
"""Before a poll begins to wait; where jobs come all the time, it is given one while it waits."""


class WorkerPool:
    """The parts, and what needs several of them.

    Args:
        tracker: whose database, queue and clocks are used.
        rng: draws who gets a job.
    """

    def __init__(self, tracker: "Tracker", rng: random.Random) -> None:
        self._tracker = tracker
        self.presence = Presence(tracker.monotonic, tracker.common_clock, lease_s=tracker.settings.lease_s)
        self.tokens = TokenCache()
        self.sync = LiveSync(tracker.database, self.presence, self.tokens)
        self.registrar = WorkerRegistrar(tracker.database, tracker.challenges)
        self.renewals = LeaseRenewals(
            tracker.database, lambda: int(tracker.common_clock()), tracker.monotonic, lease_s=tracker.settings.lease_s
        )
        self.outcomes = Outcomes(tracker)
        self.completing = Completing(tracker)
        self.taking = JobTaking(tracker)
        self.nearest = NearestFirst(tracker.clock, tracker.monotonic, self.taking.may_take)
        self.waiting = WaitingPolls(tracker.database, tracker.news, self.taking, self.nearest, tracker.monotonic, rng)

    async def register(self, body: WorkerRegistration, seen: Place | None, *, address: str = "") -> RegisteredWorker:
        """Register a worker; see ``WorkerRegistrar.register``."""
        tracker = self._tracker
        registered = await self.registrar.register(
            tracker.keys.network, body, seen=seen, address=address, now=tracker.now
        )
        self._forget(registered.worker.id)
        return registered

    async def find(self, token: str) -> LiveWorker | None:
        """Return the worker that a token belongs to, None if it is not valid (any more)."""
        token_hash, tracker = secret_hash(token), self._tracker
        worker_id = self.tokens.find(token_hash, tracker.common_clock())
        known = self.presence.find(worker_id) if worker_id is not None else None
        if known is not None:
            return known
        read_at = self.presence.monotonic()
        async with tracker.database.read() as connection:
            found = await workers.worker_of_token(connection, token_hash, now=int(tracker.common_clock()))
            if found is None:
                return None
            held = await held_by(connection, worker_holder(found.worker.id))
        self.tokens.put(found.worker.id, found.tokens)
        tracker.outlook.forget()  # whoever submits a job next is to be told of this worker
        return self.presence.meet(found.worker, held, ban=found.ban, read_at=read_at)

    async def rotate(self, worker: LiveWorker, token: str, *, address: str = "") -> str:
        """Return a new token; the one that the worker showed works 60 s more.

        Raises:
            Forbidden: that one was rotated before.
        """
        now = int(self._tracker.common_clock())
        new, hashes = await self.registrar.rotate(worker.id, secret_hash(token), address=address, now=now)
        self.tokens.put(worker.id, hashes)
        return new

    async def set_maintenance(self, worker: LiveWorker, *, enabled: bool, address: str = "") -> None:
        """Give a worker no more jobs, or give it jobs again."""
        async with self._tracker.database.write() as connection:
            await workers.set_maintenance(connection, worker.id, enabled=enabled)
            action, detail = Action.WORKER_MAINTENANCE, {"enabled": enabled}
            await note(connection, action, worker.id, detail, address=address, now=self._tracker.now)
        self.presence.amend(worker.id, maintenance=enabled)

    async def deregister(self, worker: LiveWorker, *, address: str = "") -> None:
        """Let a worker leave; what it holds goes to others at once."""
        async with self._tracker.database.write() as connection:
            await workers.deregister(connection, worker.id, now=self._tracker.now)
            await note(connection, Action.WORKER_DEREGISTERED, worker.id, address=address, now=self._tracker.now)
            held = await held_by(connection, worker_holder(worker.id))
        self._forget(worker.id)
        for job_id, attempt in held.items():
            lease = Lease(job_id=job_id, holder=worker_holder(worker.id), attempt=attempt)
            await self._tracker.desk.fail(lease, "The worker left.")

    async def next_job(self, worker: LiveWorker, wait_s: float, is_gone: Callable[[], bool]) -> NextJob:
        """Return a job that the worker holds from now on, or why there is none.

        Args:
            wait_s: seconds to wait for one.
            is_gone: whether who asks has left.
        """
        news = self._tracker.news
        self.presence.asks(worker)
        self.nearest.asks(worker)
        for _ in range(LOOKS):
            changes = news.changes
            job = await self.taking.take_any(worker)
            if job is not None:
                return job
            if changes == news.changes:  # else something came while the queue was being looked into
                break
        if wait_s > 0:
            job = await self.waiting.wait(worker, wait_s, is_gone)
            if job is not None:
                return job
        self.nearest.asked_in_vain(worker)
        return NextJob(reasons=await self.taking.reasons(worker))

    def _forget(self, worker_id: str) -> None:
        self.presence.forget(worker_id)
        self.tokens.forget(worker_id)
