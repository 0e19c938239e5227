"""Takes jobs from the queue as long as mesh nodes have room for them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from gpunode._placing import Demand
from gpunode._surroundings import Surroundings
from gpunode.errors import NoNodeFound
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.dispatch.abilities import Abilities
from gpunode_tracker.dispatch.dispatched_job import DispatchedJob, Surrounds
from gpunode_tracker.dispatch.join_ahead import JoinAhead
from gpunode_tracker.dispatch.look import NodeLook
from gpunode_tracker.dispatch.nearest_room import NearestRoom
from gpunode_tracker.dispatch.pauses import Pauses
from gpunode_tracker.dispatch.preference import free_slots, region_order
from gpunode_tracker.dispatch.session import open_session
from gpunode_tracker.dispatch.verdicts import End
from gpunode_tracker.jobs.job import Lease, StoredJob, dispatch_holder
from gpunode_tracker.jobs.lanes import parts_of
from gpunode_tracker.storage.claim_statements import ALONE_SHUN_S
from gpunode_tracker.storage.jobs import claim_job
from gpunode_tracker.storage.queue_heads import Head, queue_heads
from gpunode_tracker.workers.nearest_first import no_mesh

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

STOP_PATIENCE_S: Final = 10.0
"""Jobs that run when the tracker stops may go on for so long."""
ABILITIES_LAST_S: Final = 1.0
"""A new node is noticed at once; one that fell silent, after this."""
IDLE_PAUSE_S: Final = 10.0
"""The queue is looked into this often even when no news of it came."""
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 2.0
"""While jobs wait for nodes that have no room, these are asked again after this, growing: an answer is good for 2 s."""
MAX_ASKED_LANES: Final = 32
"""For so many lanes nodes are looked for at once, those first whose jobs go first."""
SEARCH_INTERVAL_S: Final = 10.0
"""While those that are known have no room, others are searched this often, and when the index tells of a new one."""
FAILURE_PAUSE_S: Final = 10.0
"""After the mesh or the database failed."""


class _Found(Enum):
    """What a look into the queue brought. NOTHING: no job that a live node could do."""

    TAKEN = auto()
    NO_ROOM = auto()
    NOTHING = auto()
    FAILURE = auto()


class Dispatcher:
    """Runs in the tracker's process, beside the pull workers, on the same queue.

    A job is taken only when a live node has answered that it has room, so that it does not wait at a node while a pull
    worker could do it.

    Args:
        tracker: whose queue it is.
        replica: names this process as the holder of jobs; the same after a restart.
        surroundings: see ``open_session``.
    """

    def __init__(
        self,
        tracker: "Tracker",
        replica: str,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._tracker = tracker
        self._holder = dispatch_holder(replica)
        self._monotonic = tracker.monotonic
        self._session = open_session(tracker, surroundings)
        self._join_ahead = JoinAhead(self._session.ready)
        self._nodes = NodeLook(self._session, self._monotonic)
        self._around = Surrounds(tracker, self._session, self._nodes, self._live_regions)
        self._pauses: Pauses[str] = Pauses()
        self._abilities = Abilities({}, {})
        self._abilities_until = float("-inf")
        self._searched_at: dict[str, float] = {}
        self._near = NearestRoom(self._live_regions)
        self._new_node_at = float("-inf")
        self._is_blocked = False  # the last look failed
        self._bell = asyncio.Event()
        self._running: dict[DispatchedJob, asyncio.Task[None]] = {}
        self._beginning: asyncio.Task[bool] | None = None
        self._loop: asyncio.Task[None] | None = None

    @property
    def running(self) -> Collection[DispatchedJob]:
        """The jobs that are at nodes now."""
        return self._running.keys()

    def start(self) -> None:
        """Begin to take jobs; the mesh is joined when there is one, or soon after the first node has come."""
        self._tracker.index.on_new = self._see_new_node
        self._tracker.workers.nearest.mesh_km = self._nearest_km
        self._loop = asyncio.create_task(self._take_jobs())

    async def stop(self) -> None:
        """Take no more jobs, let those that run end within 10 s, give the others back to the queue, leave the mesh."""
        self._tracker.index.on_new = lambda: None
        self._tracker.workers.nearest.mesh_km = no_mesh
        begun = {task for task in (self._loop,) if task is not None}
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        await self._join_ahead.close()
        if self._beginning is not None:
            await asyncio.wait({self._beginning})
        if self._running:
            await asyncio.wait(self._running.values(), timeout=STOP_PATIENCE_S)
        for sent in self._running:
            sent.stop()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._session.close()

    # The loop

    async def _take_jobs(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            changes = self._tracker.news.changes
            self._bell.clear()
            if len(self._running) >= self._tracker.settings.dispatch_jobs:
                await self._bell.wait()
                continue
            match await self._look():
                case _Found.TAKEN:
                    pause_s = FIRST_PAUSE_S
                case _Found.NO_ROOM:
                    await self._wait(changes, pause_s)
                    pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                case _Found.NOTHING:
                    pause_s = FIRST_PAUSE_S
                    await self._wait(changes, IDLE_PAUSE_S)
                case _Found.FAILURE:
                    await asyncio.sleep(FAILURE_PAUSE_S)

    async def _wait(self, changes: int, timeout_s: float) -> None:
        """Wait until the queue grew, a node came, a job ended, or for some seconds."""
        news = asyncio.create_task(self._tracker.news.wait_for_queue(changes, timeout_s))
        bell = asyncio.create_task(self._bell.wait())
        try:
            await asyncio.wait({news, bell}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (news, bell):
                task.cancel()
            await asyncio.gather(news, bell, return_exceptions=True)

    async def _look(self) -> "_Found":
        try:
            found = await self._take_one()
        except GpunodeError as error:
            logger.warning("No queued job can be sent to a node: %s", error, extra={"event": "dispatch_blocked"})
        except Exception:
            logger.exception("Unexpected failure", extra={"event": "dispatch_blocked"})
        else:
            self._is_blocked = False
            return found
        self._is_blocked = True
        return _Found.FAILURE

    async def _take_one(self) -> "_Found":
        """Take the first job for which a node has room."""
        self._refresh_abilities()
        if not self._abilities.served:
            return _Found.NOTHING
        self._tracker.keys.signer(self._tracker.now)  # without one no node can be paid, and every attempt would fail
        self._forget_old()
        async with self._tracker.database.read() as connection:
            heads = await queue_heads(connection)
        possible = [head for head in heads if self._live_regions(head.lane)]
        async with aclosing(self._with_room(possible)) as roomy:
            async for head in roomy:
                if await self._begin(head):
                    return _Found.TAKEN
        return _Found.NO_ROOM if possible else _Found.NOTHING

    async def _with_room(self, heads: Sequence[Head]) -> AsyncGenerator[Head, None]:
        """Yield those for which nodes have room, in their order as far as it is known: one silent node takes 2 s."""
        now = self._monotonic()
        asked = [head for head in heads if not self._pauses.is_paused(head.lane, now)][:MAX_ASKED_LANES]
        looks = {asyncio.create_task(self._has_room_for(head)): head for head in asked}
        pending = set(looks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for look in sorted(done, key=lambda each: asked.index(looks[each])):
                    if look.result():
                        yield looks[look]
        finally:
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)

    def _forget_old(self) -> None:
        now = self._monotonic()
        self._pauses.forget_old(now)
        recent = now - SEARCH_INTERVAL_S
        self._searched_at = {lane: at for lane, at in self._searched_at.items() if at > recent}
        self._near.forget_old(now)

    async def _has_room_for(self, head: Head) -> bool:
        task, region, model = parts_of(head.lane)
        wanted = None if region is None else Region(region)
        client = None if head.client_region is None else Region(head.client_region)
        regions, demand = region_order(wanted, client, self._live_regions(head.lane)), Demand(Task(task), model)
        try:
            found = await self._nodes.find(demand, regions, client)
            if not free_slots(found) and self._may_search(head.lane):
                found = await self._nodes.find(demand, regions, client, anew=True)
        except NoNodeFound:
            found = []
        if all(choice.probe is None for choice in found):
            self._pauses.failed(head.lane, self._monotonic())
        begun = sum(not sent.started.is_set() and sent.job.type == task for sent in self._running)
        has_room, now, nearest = free_slots(found) > begun, self._monotonic(), self._tracker.workers.nearest
        supposed_km = self._near.way_km(head, now)
        way_km = self._near.note(head, found if has_room else (), now)
        if supposed_km is not None and supposed_km != way_km and nearest.is_young(head):
            await self._tracker.news.heard_queue()  # somebody who waits may have it now
        return way_km is not None and (head.may_be_before_older or not nearest.keeps_from_mesh(head, way_km))

    def _nearest_km(self, head: Head) -> int | None:
        """See ``NearestFirst.mesh_km``."""
        now, is_full = self._monotonic(), len(self._running) >= self._tracker.settings.dispatch_jobs
        if is_full or self._is_blocked or self._pauses.is_paused(head.lane, now):
            return None
        return self._near.way_km(head, now)

    def _may_search(self, lane: str) -> bool:
        """Return whether nodes should be looked for beyond those that are known and have no room."""
        now, searched_at = self._monotonic(), self._searched_at.get(lane, float("-inf"))
        if now - searched_at < SEARCH_INTERVAL_S and searched_at >= self._new_node_at:
            return False
        self._searched_at[lane] = now
        return True

    async def _begin(self, head: Head) -> bool:
        """Take the first job of a lane and send it, or an older one if that is kept; return whether there was one."""
        self._beginning = asyncio.create_task(self._claim(head))
        return await asyncio.shield(self._beginning)  # who is stopped here must not leave a job lying

    async def _claim(self, head: Head) -> bool:
        tracker, nearest, lane = self._tracker, self._tracker.workers.nearest, head.lane
        way_km = self._near.way_km(head, self._monotonic())
        is_kept = way_km is not None and nearest.keeps_from_mesh(head, way_km)
        async with tracker.database.write() as connection:
            job = await claim_job(
                connection,
                self._holder,
                (lane,),
                now=tracker.now,
                lease_s=tracker.lease_ends_in_s,
                shun_s=ALONE_SHUN_S,
                tries=max(1, len(self._nodes_for(lane))),
                older_only=nearest.older_only((lane,) if is_kept else ()),
            )
        if job is None:
            return False
        lease = Lease(job_id=job.id, holder=self._holder, attempt=job.attempt)
        sent = DispatchedJob(self._around, job, lease)
        tracker.metrics.dispatched.labels(job.type).inc()
        self._running[sent] = asyncio.create_task(self._see_through(sent, job))
        return True

    async def _see_through(self, sent: DispatchedJob, job: StoredJob) -> None:
        end = End.LOST
        try:
            end = await sent.run()
        except GpunodeError as error:
            extra = {"event": "dispatch_lost", "job": job.id}
            logger.error("A queued job was left to its lease: %s", error, extra=extra)  # noqa: TRY400 -- it says it all
        except Exception:
            logger.exception("Unexpected failure", extra={"event": "dispatch_lost", "job": job.id})
        finally:
            del self._running[sent]
            self._tracker.metrics.dispatch_ends.labels(job.type, end).inc()
            if end is End.RETURNED:
                self._pauses.failed(job.lane, self._monotonic())
            else:
                self._pauses.succeeded(job.lane)
            self._bell.set()

    # Nodes

    def _see_new_node(self) -> None:
        self._abilities_until, self._new_node_at = float("-inf"), self._monotonic()
        self._nodes.forget()
        self._pauses.clear()
        self._join_ahead.node_came()
        self._bell.set()

    def _live_regions(self, lane: str) -> Collection[Region]:
        return frozenset(self._nodes_for(lane).values())

    def _nodes_for(self, lane: str) -> Mapping[PeerId, Region]:
        self._refresh_abilities()
        return self._abilities.nodes_for(lane)

    def _refresh_abilities(self) -> None:
        now = self._monotonic()
        if now >= self._abilities_until:
            live = self._tracker.index.live(self._tracker.clock())
            self._abilities = Abilities.of(live, self._tracker.settings.default_models)
            self._abilities_until = now + ABILITIES_LAST_S
