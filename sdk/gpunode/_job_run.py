"""One job from its first node to its last: streams, failures, failover in the middle of an answer, vouchers."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import ClientJob, Completed, Failed, JobEvent
from gpunode_protocol.errors import ErrorCode, GpunodeError, JobError, job_error
from gpunode_protocol.mesh.errors import MeshError
from gpunode_protocol.mesh.interface import OPEN_DEADLINE_S, MeshStream
from gpunode_protocol.mesh.knock import Door, doors_of
from gpunode_protocol.mesh.multiaddrs import is_relayed
from gpunode_protocol.messages import JOB_PROTOCOL, SegmentFrame, TokensFrame

from gpunode._answer import Answer
from gpunode._blame import Blame, voids_answer
from gpunode._failed_attempts import FailedAttempts
from gpunode._grants import HeldGrant
from gpunode._job_budget import JobBudget
from gpunode._job_ends import interrupted, unanswered
from gpunode._job_grants import JobGrants
from gpunode._job_requests import Job
from gpunode._job_services import JobServices
from gpunode._job_timing import spans_of, timing_of
from gpunode._knocking import HasEnded
from gpunode._leaving import Leaving
from gpunode._node_queue import NodeQueue, is_free
from gpunode._opening import open_unless_ended
from gpunode._race import Part, first_to_begin
from gpunode._searches import Searches
from gpunode._seats import Seat, Seats
from gpunode._seen_prefix import CannotGoOn
from gpunode._segment_numbers import SegmentNumbers
from gpunode._selection import Choice
from gpunode._transport import JobLink, ReadingClock
from gpunode._turns import Turn
from gpunode.errors import ClientError
from gpunode.types import Route, RouteSegment, StartTimes

_RESUME_OPEN_S: Final = 3.0
"""For a stream to a node that shall go on with an answer: the caller waits, and the next node may be alive."""


class JobRun:
    """One job.

    Args:
        services: shared with other jobs.
        job: what is asked for.
        nodes: whom to ask.
        grant: to present first.
        inputs: blobs that the parameters refer to.

    ``on_route`` is called whenever a node is asked, or begins to answer.
    """

    def __init__(
        self, services: JobServices, job: Job, nodes: NodeQueue, grant: HeldGrant, inputs: Sequence[Blob] = ()
    ) -> None:
        self.job = job
        self.answer = Answer(job)
        self.route: Route | None = None
        self.on_route: Callable[[Route], None] = lambda _route: None
        self.chosen_at = nodes.made_at
        self.start = StartTimes()
        self.first_output_at: float | None = None
        self._services = services
        self._nodes = nodes
        self._grants = JobGrants(services.grants, job, grant)
        self._inputs = inputs
        self._numbers = SegmentNumbers()
        self._seats = Seats(services, nodes)
        self._budget = JobBudget(job, self._grants)
        self._has_hedged = False
        self._cut_at: float | None = None
        self._failed = FailedAttempts(services)
        self._searches = Searches(services, job, nodes, self._failed, self._budget.covers)
        self._leaving = Leaving(services.background, services.accounting, self._grants.signed)
        self._nodes.keep(self._budget.allows)  # they were ranked by the newest prices, the grant may be older

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """Yield the job's events up to ``Completed``; closing the generator early cancels the job.

        An answer that breaks off at one node goes on at another: what is yielded then is only what is new.

        Raises:
            NoNodeFound: nobody answered. RequestRefused: the request itself is at fault.
            AnswerInterrupted: the answer broke off, and nobody could finish it. VerificationFailed: it does not verify.
            ClientError: no grant could be had.
        """
        try:
            while True:
                part, events = await self._begin(await self._connect())
                failure: GpunodeError | None = None
                try:
                    while True:
                        for event in events:
                            if isinstance(event, Failed):
                                failure = event.error
                            elif (new := self._take(event, part)) is not None:
                                yield new
                        if failure is not None or part.link.completed is not None:
                            break
                        events = await self._next(part)
                    if failure is None:
                        return
                finally:
                    self._leave(part, failure)
                await self._give_up(part, failure)
        finally:
            self._seats.leave()
            self._leaving.when_signed(self._grants.job_over)

    async def settle_up(self) -> None:
        """Wait until everybody who has been left so far was told what they are owed, some seconds at most."""
        await self._leaving.all_told()

    async def _connect(self) -> Part:
        """Open a stream to the next node that can be reached."""
        while (seat := await self._next_seat()) is not None:
            part = await self._open(seat)
            if part is not None:
                if not self.answer.has_begun:
                    self.start = replace(self.start, place_ms=1000 * self._seats.waited_s)
                self._show_route(part)
                return part
        if self.answer.has_begun:
            last = self._failed.attempts[-1].reason if self._failed.attempts else "Nobody is left to ask."
            self._interrupt(" ".join(filter(None, (self._limit_reached(), last, self._grants.problem))))
        others_left = self._nodes.has(lambda _: True)
        limit = self._limit_reached() or self._seats.in_vain
        raise unanswered(self._failed, limit, others_left=others_left, searches=self._searches.count)

    async def _open(self, seat: Seat) -> Part | None:
        """Send the request to a node; None if it cannot be reached."""
        part: Part | None = None
        try:
            part = await self._open_stream(seat, await self._services.turns.next(seat.choice.node))
        finally:
            if part is None:
                self._seats.get_up(seat)
        return part

    async def _open_stream(self, seat: Seat, turn: Turn) -> Part | None:
        choice = seat.choice
        patience_s = OPEN_DEADLINE_S if self._cut_at is None else _RESUME_OPEN_S
        deadline_s = min(patience_s, max(0.0, self._left_s()))
        addresses = choice.candidate.body.addresses
        opening = self._services.mesh.open_stream(choice.node, JOB_PROTOCOL, addresses, deadline_s=deadline_s)
        has_ended = self._knock_at(doors_of(addresses))
        try:
            stream = await (opening if has_ended is None else open_unless_ended(opening, has_ended))
        except MeshError as error:
            self._failed.unreachable(choice, str(error))
            return None
        try:
            return Part(choice, self._link(choice, stream), turn, seat.counted, seat.place, self._services.monotonic())
        except BaseException:
            stream.abort()
            raise

    def _show_route(self, part: Part) -> None:
        choice = part.choice
        self.route = Route(
            node=choice.node,
            region=choice.candidate.body.region.value,
            rtt_ms=choice.probe.rtt_ms if choice.probe else None,
            path="relayed" if is_relayed(part.link.stream.remote_address) else "direct",
            source=choice.candidate.source,
            failed=self._failed.attempts,
            segments=tuple(self.answer.parts),
        )
        self.on_route(self.route)

    async def _begin(self, part: Part) -> tuple[Part, list[JobEvent]]:
        """Wait for the first output; the node that gives it does the job."""
        part, events = await first_to_begin(
            part,
            next_events=self._next,
            hedge=self._hedge,
            hedge_after_s=part.link.job.patience.first_output_s / 2,
            dismiss=self._dismiss,
            leave=lambda part: self._leave(part, None),
        )
        self._show_route(part)
        return part, events

    async def _hedge(self, slow: Part) -> Part | None:
        """Ask a second node, once a job. Files are not sent twice.

        A job that waits as was expected goes on waiting. Where the node had said that it is free, a free one is asked.
        """
        is_queued = slow.link.job.is_queued
        if self._has_hedged or self._inputs or self._numbers.are_used_up or (is_queued and not is_free(slow.choice)):
            return None
        seat = self._seats.take(is_free if is_queued else lambda _: True)
        if seat is None:
            return None
        self._has_hedged = True
        try:
            return await self._open(seat)
        except asyncio.CancelledError:
            self._nodes.put_first(seat.choice)  # it was not asked, and may be needed yet
            raise

    def _dismiss(self, part: Part, failure: GpunodeError | None) -> None:
        """Let a node go that lost the race; what it gave was not needed, so that no more is signed for."""
        if failure is None:
            if (voucher := part.link.job.last_voucher) is not None:
                self._budget.spend(voucher.body)
            self._failed.outrun(part.choice)
            self._services.prober.job_over(part.counted)
            self._leaving.withdraw(part.link, part.place.release)
        else:
            if not self._is_one_too_many(part, failure):
                self._failed_at(part, failure)
            self._leave(part, failure)

    def _leave(self, part: Part, failure: GpunodeError | None) -> None:
        """Let a node go that gave something, or may have, or had not begun when the caller lost interest."""
        self._services.prober.job_over(part.counted)
        self._leaving.leave(part.link, failure, part.place.release)

    async def _next_seat(self) -> Seat | None:
        if self._limit_reached():
            return None
        self._nodes.keep(lambda choice: self._services.measurements.held_against(choice.node) is None)
        if self._cut_at is not None:
            await self._searches.for_rest(self._can_finish, self._cut_at)
        elif not await self._searches.for_beginning():
            return None
        return await self._seats.next(self.job.ends_at, is_urgent=self._cut_at is not None)

    def _can_finish(self, choice: Choice) -> bool:
        has_weights = self.answer.fingerprint in {None, choice.candidate.body.model.fingerprint}
        return has_weights and choice.node not in self._failed.excluded and self._budget.allows(choice)

    def _link(self, choice: Choice, stream: MeshStream) -> JobLink:
        services = self._services
        clock = ReadingClock(services.monotonic)
        grant = self._grants.for_node(choice.node)
        order = self.answer.next_order()
        job = ClientJob(
            identity=services.signer.identity,
            request=services.signer.sign(self.job, choice, grant, self._numbers.take(choice.node), order),
            jti=grant.grant.jti,
            opened_at=clock(),
            patience=services.patience(choice, replace(self.job, params=order.params)),
            inputs=self._inputs,
            prompt_tokens=self.answer.prompt_tokens,
        )
        doors = doors_of(choice.candidate.body.addresses, stream.remote_address)
        return JobLink(stream, job, clock, self._knock_at(doors))

    def _knock_at(self, doors: Sequence[Door]) -> HasEnded | None:
        return partial(self._services.all_refuse, doors) if doors else None

    def _limit_reached(self) -> str:
        """Return why no node may be asked any more, empty if one may."""
        if self._left_s() <= 0:
            return f"{self._seats.problem}The job's time is over."
        is_over = self._numbers.are_used_up
        return f"{self._seats.problem}The job was sent to nodes as often as a job may be." if is_over else ""

    def _left_s(self) -> float:
        return self.job.ends_at - self._services.monotonic()

    async def _next(self, part: Part) -> list[JobEvent]:
        try:
            async with asyncio.timeout(max(0.0, self._left_s())):
                return await part.link.next_events()
        except TimeoutError:
            return [Failed(job_error(ErrorCode.DEADLINE_PASSED, "The job took longer than its time limit."))]
        finally:
            if part.link.job.accepted is not None:
                part.place.is_accepted = True
                part.turn.end()

    def _take(self, event: JobEvent, part: Part) -> JobEvent | None:
        """Note an event; return what of it the caller gets."""
        if isinstance(event, TokensFrame | SegmentFrame | Blob):
            now = self._services.monotonic()
            self.first_output_at = now if self.first_output_at is None else self.first_output_at
            part.begun_at = now if part.begun_at is None else part.begun_at
            part.last_at = now
        try:
            if isinstance(event, Completed):
                self.answer.end()
                self._succeeded(part, event)
            return self.answer.take(event)
        except CannotGoOn as error:
            self._interrupt(str(error))

    def _succeeded(self, part: Part, completed: Completed) -> None:
        services, choice = self._services, part.choice
        self._failed.refuted(by=choice)
        services.breakers.succeeded(choice.node)
        services.good_nodes.remember(choice.candidate.advert)
        spans = spans_of(part, completed.receipt.body, self.start, now=services.monotonic())
        timing = timing_of(choice, self.job.task, completed.usage, spans, at=services.clock())
        services.measurements.job_done(choice.node, choice.model, timing)
        self._part_over(part, "done")

    async def _give_up(self, part: Part, error: GpunodeError) -> None:
        """Raise, unless another attempt may be made."""
        if self._is_one_too_many(part, error):
            pass
        elif self.answer.has_begun:
            await self._go_on_elsewhere(part, error)
        elif await self._has_new_grant(part, error):
            self._nodes.put_first(part.choice)
            self._nodes.keep(self._budget.allows)
        elif self._failed_at(part, error) is Blame.REQUEST and isinstance(error, JobError):
            self._failed.consider_refusal(part.choice, error, self._nodes)

    async def _go_on_elsewhere(self, part: Part, error: GpunodeError) -> None:
        """Note what this node gave, and see that what is missing can be asked of another one, or with another grant."""
        if voids_answer(error):
            self._failed_at(part, error)
            raise error
        self._part_over(part, str(error))
        if self._cut_at is None or self.answer.has_grown:
            self._cut_at = self._services.monotonic()
            self._nodes.shorten_pauses()
        try:
            await self._plan_rest(part)
        except (CannotGoOn, ClientError) as reason:
            self._failed_at(part, error)
            self._interrupt(f"{error} {reason}")
        if await self._has_new_grant(part, error):
            self._nodes.put_first(part.choice)
            return
        if part.link.job.output.count and not self.answer.has_grown:
            self._failed.excluded.add(part.choice.node)  # it would be paid for the same beginning again and again
        self._failed_at(part, error)
        if self._left_s() <= 0:
            self._interrupt(str(error))
        self._nodes.keep(self._can_finish)
        blocked = self._services.breakers.blocked(self._services.monotonic())
        self._nodes.put_last(lambda choice: choice.node in blocked)

    async def _plan_rest(self, part: Part) -> None:
        """See that the rest can be asked for, and paid. Raises CannotGoOn, or ClientError: there is no grant for it."""
        self._budget.plan(self.answer.next_order(), self.answer.prompt_tokens)
        if (problem := self._budget.problem(part.choice)) and not self._nodes.has(self._can_finish):
            raise CannotGoOn(problem)
        await self._grants.cover(self._budget.rest(part.choice.model))

    def _is_one_too_many(self, part: Part, error: GpunodeError) -> bool:
        """See that the job waits for another one of this client to end, if that is all that keeps a node from it."""
        job = part.link.job
        is_unread = job.error_told is error and job.accepted is None
        if not is_unread or not self._seats.refused(part.choice, part.place, error):
            return False
        self._numbers.unread(job.request.body.segment, part.choice.node)
        return True

    async def _has_new_grant(self, part: Part, error: GpunodeError) -> bool:
        """Replace the grant if that helps. An answer that has begun is not lost because there is none to be had."""
        code = error.code if isinstance(error, JobError) else None
        model = part.choice.model if self.answer.has_begun else None
        try:
            return await self._grants.replace(part.choice.node, code, self._budget.rest(model))
        except ClientError:
            if not self.answer.has_begun:
                raise
            return False

    def _part_over(self, part: Part, ended: str) -> None:
        job, choice = part.link.job, part.choice
        units, region = job.output.count, choice.candidate.body.region.value
        voucher = job.last_voucher if ended == "done" else job.closing_voucher()
        if voucher is not None:
            self._budget.spend(voucher.body)
        self.answer.part_over(RouteSegment(choice.node, region, units, ended), voucher)
        self._update_route()

    def _update_route(self) -> None:
        if self.route is not None:
            self.route = replace(self.route, failed=self._failed.attempts, segments=tuple(self.answer.parts))

    def _failed_at(self, part: Part, error: GpunodeError) -> Blame:
        """Note who failed; return whose fault it is."""
        job = part.link.job
        if job.error_told is not None and job.accepted is None:
            self._numbers.refused(job.request.body.segment)
        blame = self._failed.failed(part, error)
        self._nodes.keep(lambda choice: choice.node not in self._failed.excluded)
        self._update_route()
        return blame

    def _interrupt(self, reason: str) -> NoReturn:
        assert self.route is not None  # noqa: S101 -- output came, so there was a stream
        raise interrupted(self.answer, self.route, reason)
