"""The desk of the queue: jobs come in here and end here, each with its money, its seals and its news in one step.

``Tracker.desk`` is the process's desk. Whoever takes jobs out of the queue (``storage.jobs.claim_job``) says so by a
``running`` word itself and brings the end back here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpunode._model_names import catalogue_name
from gpunode_protocol.identity import PeerId
from gpunode_protocol.job_ids import new_job_id
from gpunode_protocol.jobs_api import JobEventName, JobSubmission
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tracker_api import SettlementItem
from gpunode_protocol.vouchers import Voucher
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.errors import Conflict, KeyReused
from gpunode_tracker.jobs.invented_names import is_known, refuse_many_kinds
from gpunode_tracker.jobs.job import DISPATCH_HOLDER, JobStatus, Lease, Outcome, StoredJob
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.jobs.preparing import PreparedJob, prepare
from gpunode_tracker.jobs.queue_order import rank_of
from gpunode_tracker.jobs.reservations import Reserver
from gpunode_tracker.jobs.seals import JobSeals
from gpunode_tracker.jobs.work_orders import WorkOrders
from gpunode_tracker.settling import check_item
from gpunode_tracker.storage import jobs
from gpunode_tracker.storage.accounts import Account, lock_account
from gpunode_tracker.storage.idempotency import UsedKey, find_used_key, remember_key
from gpunode_tracker.storage.settlements import Claim
from gpunode_tracker.webhooks import subscription

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

IDEMPOTENCY_S: Final = 24 * 3600
"""An idempotency key names its job for so long."""
MAX_ERROR_CHARS: Final = 2_000
Also = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True)
class FiledJob:
    """What came of a submission. is_new: False = an idempotency key named a job that was there already.

    webhook_secret: signs the job's webhook, if it has one.
    """

    job: StoredJob
    is_new: bool
    webhook_secret: str | None = None


@dataclass(frozen=True)
class Sender:
    """Who submits. key_id: id of the API key. region: by GeoIP of the address, None = not known."""

    account: Account
    key_id: str
    address: str
    region: str | None


class JobDesk:
    """Takes jobs in and ends them.

    Args:
        tracker: whose database, keys, prices, sealer and news are used, as they are at each call.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker
        self.orders = WorkOrders(tracker)

    # In

    async def submit(
        self, account: Account, key_id: str, submission: JobSubmission, *, address: str, region: str | None
    ) -> StoredJob:
        """Keep a job and reserve what it may cost at most.

        Args:
            account: who pays.
            key_id: id of the API key that asks.
            submission: as it came.
            address: of the client. region: by GeoIP of that address.

        Raises:
            JobError: parameters that are not valid. InsufficientCredits: nothing was kept.
        """
        return (await self.file(Sender(account, key_id, address, region), submission)).job

    async def file(self, sender: Sender, submission: JobSubmission, idempotency_key: str | None = None) -> FiledJob:
        """Keep a job likewise, once for each idempotency key of the account.

        Raises:
            JobError, InsufficientCredits: see ``submit``. KeyReused: the key names a job of another body.
            Conflict: the account's jobs wait for many models already that nobody serves, and this one's does so too.
        """
        tracker, now = self._tracker, self._tracker.now
        model = submission.model or tracker.settings.default_models.get(submission.type)
        prepared = await asyncio.to_thread(prepare, submission, model=model, now=now)
        named = submission.model
        is_invented = named is not None and not await is_known(tracker, submission.type, named)
        async with tracker.database.write() as connection:
            await lock_account(connection, sender.account.id)
            if idempotency_key is not None:
                known = await self._named_before(connection, sender.account, idempotency_key, prepared, now)
                if known is not None:
                    secret = await subscription.secret_of(connection, tracker.sealer, known.id)
                    return FiledJob(known, is_new=False, webhook_secret=secret)
            if is_invented:
                lane = lane_of(submission.type, submission.region, named)
                await refuse_many_kinds(connection, sender.account.id, lane)
            filed = await self._file(connection, sender, prepared, model, now)
            if idempotency_key is not None:
                used = UsedKey(filed.job.id, prepared.digest)
                await remember_key(connection, sender.account.id, idempotency_key, used, now=now)
        tracker.wake_sequencer.set()
        await tracker.news.queue_grew()
        return filed

    async def _named_before(
        self, connection: AsyncConnection, account: Account, key: str, prepared: PreparedJob, now: int
    ) -> StoredJob | None:
        used = await find_used_key(connection, account.id, key, created_after=now - IDEMPOTENCY_S)
        if used is None:
            return None
        if used.body_digest != prepared.digest:
            raise KeyReused
        return await jobs.find_job_state(connection, used.job_id, account_id=account.id)

    async def _file(
        self, connection: AsyncConnection, sender: Sender, prepared: PreparedJob, model: str | None, now: int
    ) -> FiledJob:
        tracker, submission = self._tracker, prepared.submission
        cost = self._cost(prepared, model)
        jti = await self._reserver(now).reserve(
            connection, sender.account.id, submission.type, cost, price_version=tracker.prices.version
        )
        created_at = tracker.clock()
        job_id = new_job_id(created_at)
        job = StoredJob(
            id=job_id,
            type=submission.type,
            status=JobStatus.QUEUED,
            priority=submission.priority,
            region=submission.region,
            model=submission.model,
            lane=lane_of(submission.type, submission.region, submission.model),
            rank=rank_of(submission.priority, int(created_at * 1000)),
            params=self._seals.seal_params(job_id, prepared.params),
            created_at=now,
            account_id=sender.account.id,
            client_id=sender.key_id,
            client_address=sender.address,
            client_region=sender.region,
            jti=jti,
        )
        await jobs.add_job(connection, job)
        secret = None
        if prepared.webhook is not None:
            secret = await subscription.add(connection, tracker.sealer, job_id, prepared.webhook)
        return FiledJob(job, is_new=True, webhook_secret=secret)

    def _cost(self, prepared: PreparedJob, model: str | None) -> int:
        """Return what a job costs at most, in micro-credits; 0 where its task has no price."""
        prices, name = self._tracker.prices, model or ""
        try:
            return prices.cost_microcredits(
                prepared.submission.type,
                name if name in prices.models else catalogue_name(name),
                input_units=prepared.input_units,
                output_units=prepared.output_units,
            )
        except KeyError:
            return 0

    # Out

    async def cancel(self, job: StoredJob) -> StoredJob:
        """End a job that has not ended, and return it as it is then. Again changes nothing.

        What a dispatched job's node has done by then is still to be paid: its reservation goes back when the dispatch
        says so (``give_back``), or after two hours.

        Raises:
            Conflict: it completed or failed.
        """
        tracker, now = self._tracker, self._tracker.now
        async with tracker.database.write() as connection:
            lease = await jobs.lease_of(connection, job.id)
            cancelled = await jobs.cancel_job(connection, job.id, now=now)
            if cancelled is None:
                ended = await jobs.find_job_state(connection, job.id)
                if ended is not None and ended.status is JobStatus.CANCELLED:
                    return ended
                raise Conflict(f"The job has {ended.status if ended else 'been deleted'} already.")
            is_dispatched = lease is not None and lease.holder.startswith(DISPATCH_HOLDER)
            await self._end(connection, cancelled, now, keep_reservation=is_dispatched)
        self._told(cancelled)
        return cancelled

    async def complete(
        self,
        lease: Lease,
        result: dict[str, Any],
        *,
        processing_ms: int,
        node: str | None = None,
        voucher: Signed[Voucher] | None = None,
        receipt: Signed[Receipt] | None = None,
        also: Also | None = None,
    ) -> StoredJob | None:
        """End a job with its result, and pay who did it, in one step.

        Args:
            lease: under which it was done.
            result: JSON object, see ``gpunode_protocol.job_results``.
            processing_ms: as measured by whoever gave the job out.
            node: peer id that did it, if it has one.
            voucher, receipt: the final ones, which agree; without them nothing is paid.
            also: what is to be written with it, both or neither.

        Returns:
            The job; None, and nothing is changed or paid, if the lease is not in force (any more).
        """
        tracker, now = self._tracker, self._tracker.now
        sealed = await asyncio.to_thread(self._seals.seal_result, lease.job_id, result)
        claim = await self._claim(voucher, receipt)
        digest = receipt.digest if receipt is not None else None
        outcome = Outcome(result=sealed, processing_ms=processing_ms, node=node, receipt_digest=digest)
        async with tracker.database.write() as connection:
            job = await jobs.complete_job(connection, lease, outcome, now=now)
            if job is None:
                return None
            if claim is not None:
                await tracker.settling.settle_within(connection, claim)
            if also is not None:
                await also(connection)
            await self._end(connection, job, now)
        self._told(job)
        return job

    async def undo(self, lease: Lease) -> StoredJob | None:
        """Queue a job again as if it had not been taken; see ``undo_lease``."""
        async with self._tracker.database.write() as connection:
            job = await jobs.undo_lease(connection, lease)
        if job is not None:
            self._tracker.news.tell(Word(job.id, JobEventName.QUEUED))
            await self._tracker.news.queue_grew()
        return job

    async def fail(
        self, lease: Lease, reason: str, *, retryable: bool = True, also: Also | None = None
    ) -> StoredJob | None:
        """End an attempt: the job is queued again, or has failed. Vouchers of the attempt must have been settled.

        Args:
            reason: shown to the job's owner.
            retryable: False = nobody else could do it either.
            also: what is to be written with it, both or neither.

        Returns:
            The job as it is now; None, and nothing is changed, if the lease is not in force (any more).
        """
        tracker, now = self._tracker, self._tracker.now
        async with tracker.database.write() as connection:
            job = await jobs.fail_attempt(connection, lease, _shown(reason), now=now, retryable=retryable)
            if job is None:
                return None
            if also is not None:
                await also(connection)
            if job.status.is_final:
                await self._end(connection, job, now)
        if job.status.is_final:
            self._told(job)
        else:
            tracker.news.tell(Word(job.id, JobEventName.QUEUED))
            await tracker.news.queue_grew()
        return job

    async def give_up(self, job_id: str, reason: str) -> StoredJob | None:
        """Let a job fail that still waits; None if it does not wait (any more)."""
        tracker, now = self._tracker, self._tracker.now
        async with tracker.database.write() as connection:
            job = await jobs.fail_queued(connection, job_id, reason, now=now)
            if job is None:
                return None
            await self._end(connection, job, now)
        self._told(job)
        return job

    async def give_back(self, job: StoredJob) -> None:
        """Return what is left of a job's reservation, all of its vouchers being settled; again changes nothing."""
        async with self._tracker.database.write() as connection:
            await self._reserver(self._tracker.now).give_back(connection, job.jti)
        self._tracker.wake_sequencer.set()

    async def _end(
        self, connection: AsyncConnection, job: StoredJob, now: int, *, keep_reservation: bool = False
    ) -> None:
        if keep_reservation:
            await self._reserver(now).end_soon(connection, job.jti)
        else:
            await self._reserver(now).give_back(connection, job.jti)
        await subscription.due(connection, job.id, now)

    def _told(self, job: StoredJob) -> None:
        self._tracker.wake_sequencer.set()
        self._tracker.wake_webhooks.set()
        self._tracker.news.tell(Word(job.id, JobEventName.DONE, {"status": job.status}))

    async def _claim(self, voucher: Signed[Voucher] | None, receipt: Signed[Receipt] | None) -> Claim | None:
        """Return what is to be settled. Raises ValueError: it does not agree, which a client's machine sees before."""
        if voucher is None:
            return None
        item = SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope if receipt is not None else None)
        claim = await asyncio.to_thread(check_item, item, self._tracker.keys.network)
        if isinstance(claim, Claim):
            return claim
        raise ValueError(f"the voucher cannot be settled: {claim.reason}")

    # Seals

    def params_of(self, job: StoredJob) -> dict[str, Any]:
        """Return a job's parameters. Raises KeysUnusable."""
        return self._seals.params_of(job)

    def result_of(self, job: StoredJob) -> dict[str, Any]:
        """Return a completed job's result. Raises KeysUnusable."""
        return self._seals.result_of(job)

    @property
    def _seals(self) -> JobSeals:
        return JobSeals(self._tracker.sealer)

    # Requests to workers with a key, see ``WorkOrders``

    async def signed_request(
        self, job: StoredJob, lease: Lease, peer: PeerId, *, model: str | None = None
    ) -> Signed[JobRequest]:
        """Sign the request that a worker with a key answers, and keep it. Raises Conflict: the lease is lost."""
        return await self.orders.sign(job, lease, peer, model=model)

    def request_of(self, job: StoredJob) -> Signed[JobRequest] | None:
        """Return the signed request of a job's newest lease, None if there was none. Raises KeysUnusable."""
        return self.orders.read(job)

    def _reserver(self, now: int) -> Reserver:
        return Reserver(self._tracker.dispatch.peer_id, self._tracker.keys.network, now)


def _shown(reason: str) -> str:
    """Return a reason that may have come from a stranger, as it is kept: it ends on terminals and in web pages."""
    return "".join(letter if letter.isprintable() else " " for letter in reason[:MAX_ERROR_CHARS])
