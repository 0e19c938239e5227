"""One queued job on its way: from the queue to mesh nodes, and with its end back to the desk."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gpunode._job_cost import cost_of
from gpunode._job_requests import new_salt
from gpunode._job_run import JobRun
from gpunode._job_wish import Errand, JobWish
from gpunode._placing import Demand
from gpunode._selection import Choice
from gpunode._session import Session
from gpunode.types import Route
from gpunode_protocol.client_job import Completed
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.job_params import JobOrder, read_job_params
from gpunode_protocol.jobs_api import JobEventName, JsonObject
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher

from gpunode_tracker.dispatch.answers import AnswerReader
from gpunode_tracker.dispatch.debts import Debts
from gpunode_tracker.dispatch.funds import JobFunds
from gpunode_tracker.dispatch.lease_keeper import LeaseKeeper
from gpunode_tracker.dispatch.look import NodeLook
from gpunode_tracker.dispatch.preference import region_order
from gpunode_tracker.dispatch.verdicts import End, end_after
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.job import NODE, JobStatus, Lease, StoredJob
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.storage.attempts import nodes_asked, note_asked
from gpunode_tracker.storage.jobs import find_job_state, note_node
from gpunode_tracker.storage.reports import add_report

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_WITH_STORAGE_S: Final = 120.0
"""An answer is kept so long for a database that does not take it."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0


@dataclass(frozen=True)
class Surrounds:
    """What all dispatched jobs share.

    session: the tracker's client. look: finds nodes. live_regions: returns those with nodes for the jobs of a lane.
    """

    tracker: "Tracker"
    session: Session
    look: NodeLook
    live_regions: Callable[[str], Collection[Region]]


class DispatchedJob:
    """Sees one job to its end.

    Args:
        around: see ``Surrounds``.
        job: as it was taken from the queue.
        lease: under which it was.

    ``started`` is set as soon as a node counts the job, or it is clear that none will.
    """

    def __init__(self, around: Surrounds, job: StoredJob, lease: Lease) -> None:
        self.job = job
        self.started = asyncio.Event()
        self._around = around
        self._tracker = around.tracker
        self._lease = lease
        self._keeper = LeaseKeeper(around.tracker, lease)
        self._funds = JobFunds(around.tracker, job)
        self._debts = Debts()
        self._reader: AnswerReader | None = None
        self._run: JobRun | None = None
        self._node: PeerId | None = None
        self._noting: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._is_ending = False

    def stop(self) -> None:
        """Let the job go back to the queue, unless it is just about to end."""
        self._stopping.set()

    async def run(self) -> End:
        """Return what came of the job.

        Raises:
            StorageUnavailable: the database did not take it for long; the lease will expire.
        """
        self._tell_running(None)
        work = asyncio.create_task(self._work())
        lost = asyncio.create_task(self._keeper.until_lost())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, lost, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or self._is_ending:
                return await work
            work.cancel()
            await asyncio.wait({work})
            return await self._withdraw(is_lost=lost.done())
        finally:
            self.started.set()
            tasks = [task for task in (work, lost, stopping, self._noting) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # At the nodes

    async def _work(self) -> End:
        started_at = self._tracker.monotonic()
        try:
            done = await self._answer()
            self._is_ending = True
            result = await asyncio.to_thread(self._result, done)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the job must not be left lying
            self._is_ending = True
            return await self._failed(error)
        return await self._completed(done, result, processing_ms=round(1000 * (self._tracker.monotonic() - started_at)))

    async def _answer(self) -> Completed:
        job, salt = self.job, new_salt()
        order = await asyncio.to_thread(self._order, salt)
        self._reader = reader = AnswerReader(order.params)
        errand = Errand(self._look, self._funds, self._debts)
        region = None if job.region is None else Region(job.region)
        wish = JobWish(Task(job.type), order.params, job.model, region, inputs=order.inputs, salt=salt, errand=errand)
        self._run = run = await self._around.session.start_job(wish)
        self.started.set()
        run.on_route = self._asked
        done: Completed | None = None
        async with aclosing(run.events()) as events:
            async for event in events:
                said = reader.take(event)
                if said is not None:
                    self._tracker.news.tell(Word(job.id, *said))
                if isinstance(event, Completed):
                    done = event
                    await run.settle_up()  # with those who had a part in it before; this one has its turn at the desk
        assert done is not None  # noqa: S101 -- events end with Completed or raise
        return done

    def _order(self, salt: bytes) -> JobOrder:
        params = read_job_params(Task(self.job.type), self._tracker.desk.params_of(self.job))
        return params.to_order(salt, self._tracker.now)

    def _result(self, done: Completed) -> JsonObject:
        assert self._reader is not None and self._run is not None  # noqa: S101, PT018 -- there is an answer
        try:
            return self._reader.result(done, self._run.answer)
        except GpunodeError:
            self._debts.submit(done.voucher, done.receipt)  # it is signed, and stays so
            raise

    async def _look(self) -> Sequence[Choice]:
        job = self.job
        wanted = None if job.region is None else Region(job.region)
        client = None if job.client_region is None else Region(job.client_region)
        regions = region_order(wanted, client, self._around.live_regions(job.lane))
        demand = Demand(Task(job.type), job.model)
        return await self._around.look.find(demand, regions, client, had=await self._who_had_it())

    async def _who_had_it(self) -> frozenset[str]:
        """Return the nodes of earlier attempts: this one is others', as long as there are any."""
        if self._lease.attempt == 1:
            return frozenset()
        try:
            async with self._tracker.database.read() as connection:
                return await nodes_asked(connection, self.job.id, before=self._lease.attempt)
        except StorageUnavailable:
            return frozenset()

    def _asked(self, route: Route) -> None:
        """Tell who does the job now."""
        node = PeerId(route.node)
        if node != self._node:
            self._node = node
            self._noting = asyncio.create_task(self._note(node, self._noting))

    async def _note(self, node: PeerId, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        try:
            async with self._tracker.database.write() as connection:
                await note_node(connection, self._lease, node)
                await note_asked(connection, self._lease, node)
        except StorageUnavailable as error:
            logger.info("Who does a job was not noted: %s", error, extra=self._extra("node_not_noted"))
        self._tell_running(node)

    def _tell_running(self, node: PeerId | None) -> None:
        data = {"attempt": self._lease.attempt, "served_by": None if node is None else f"{NODE}{node}"}
        self._tracker.news.tell(Word(self.job.id, JobEventName.RUNNING, data))

    # Ends

    async def _completed(self, done: Completed, result: JsonObject, *, processing_ms: int) -> End:
        await self._pay(done.voucher)
        desk, receipt = self._tracker.desk, done.receipt
        ended = await self._surely(
            lambda: desk.complete(
                self._lease,
                result,
                processing_ms=processing_ms,
                node=receipt.body.node,
                voucher=done.voucher,
                receipt=receipt,
            )
        )
        if ended is not None:
            return End.COMPLETED
        self._debts.submit(done.voucher, receipt)
        return await self._after_loss()

    async def _failed(self, error: Exception) -> End:
        end = end_after(error)
        if isinstance(error, GpunodeError):
            logger.info("A queued job ended so: %s", error, extra=self._extra("dispatch_failed"))
        else:
            logger.error("Unexpected failure", exc_info=error, extra=self._extra("dispatch_failed"))
        if self._run is not None:
            await self._run.settle_up()
        if end is End.LOST:
            return await self._after_loss()
        await self._pay()
        if end is End.RETURNED:
            return await self._put_back()
        reason = str(error) if isinstance(error, GpunodeError) else "The tracker failed to send it to a node."
        retryable = end is not End.FAILED
        ended = await self._surely(lambda: self._tracker.desk.fail(self._lease, reason, retryable=retryable))
        if ended is None:
            return End.LOST
        return End.FAILED if ended.status.is_final else End.RETRIED

    async def _withdraw(self, *, is_lost: bool) -> End:
        if self._run is not None:
            await self._run.settle_up()
        if is_lost:
            return await self._after_loss()
        await self._pay()
        return await self._put_back()

    async def _after_loss(self) -> End:
        """Pay for what was done of a job that is not ours any more; of a cancelled one, the rest goes back now."""
        await self._pay()
        state = await self._surely(self._state)
        if state is not None and state.status is JobStatus.CANCELLED:
            await self._surely(lambda: self._tracker.desk.give_back(state))
        return End.LOST

    async def _put_back(self) -> End:
        job = await self._surely(lambda: self._tracker.desk.undo(self._lease))
        return End.LOST if job is None else End.RETURNED

    async def _state(self) -> StoredJob | None:
        async with self._tracker.database.read() as connection:
            return await find_job_state(connection, self.job.id)

    # Money

    async def _pay(self, last: Signed[Voucher] | None = None) -> None:
        """Settle what is owed so far, keep complaints. last: a voucher that will be settled after these."""
        debts, tracker = self._debts, self._tracker
        if self._noting is not None:
            await asyncio.wait({self._noting})  # nothing is told of a job after its end
        if debts.items:

            def due(prices: PriceTable) -> int:
                return debts.due_microcredits(prices) + (0 if last is None else cost_of(last.body, prices))

            try:
                await self._surely(lambda: self._funds.cover(due))
            except GpunodeError as error:
                logger.warning("A reservation was not raised: %s", error, extra=self._extra("reservation_not_raised"))
            for result in await self._surely(lambda: tracker.settle(debts.items)):
                if result.status not in {"settled", "duplicate"}:
                    extra = self._extra("voucher_not_settled")
                    logger.warning("A voucher was not settled: %s %s", result.status, result.reason, extra=extra)
        if debts.complaints:
            await self._surely(self._complain)

    async def _complain(self) -> None:
        async with self._tracker.database.write() as connection:
            for report in self._debts.complaints:
                await add_report(connection, self.job.account_id, report, received_at=self._tracker.now)
        self._debts.complaints.clear()

    async def _surely(self, act: Callable[[], Awaitable[T]]) -> T:
        """Act, again and again while the database does not answer, for two minutes or until the tracker stops."""
        ends_at, pause_s = self._tracker.monotonic() + PATIENCE_WITH_STORAGE_S, FIRST_PAUSE_S
        while True:
            try:
                return await act()
            except StorageUnavailable as error:
                if self._stopping.is_set() or self._tracker.monotonic() > ends_at:
                    raise
                logger.warning("%s", error, extra=self._extra("dispatch_waits"))
            try:
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            except TimeoutError:
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _extra(self, event: str) -> dict[str, str]:
        return {"event": event, "job": self.job.id}
