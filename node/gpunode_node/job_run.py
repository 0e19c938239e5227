"""One job from its admission to its settlement. It outlives the stream that brought it: see ``job_session``."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from gpunode_engines.errors import EngineError, EngineLost
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.grants import Grant
from gpunode_protocol.messages import AcceptedFrame, BlobFrame
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.payloads import input_refs, worst_case_output_units
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Envelope, Signed

from gpunode_node.admission import key_of
from gpunode_node.bell import Bell
from gpunode_node.delivery import Delivery
from gpunode_node.job_books import close_books
from gpunode_node.job_inputs import JobInputs
from gpunode_node.job_services import JobServices
from gpunode_node.output_relay import OutputRelay
from gpunode_node.scheduler import Ticket
from gpunode_node.served_model import ServedModel
from gpunode_node.stop_switch import Cancelled, StopSwitch
from gpunode_node.work import JobOrder, Prepared, Work, job_error_of_engine

logger = logging.getLogger(__name__)

T = TypeVar("T")

REATTACH_GRACE_S = 5.0
"""A job whose stream was closed without a cancel goes on for so long, in case its client comes back."""


class Attachment(Protocol):
    """A stream that sends a job's frames."""

    @property
    def cursor(self) -> int:
        """How many frames it has sent."""
        ...


class JobRun:
    """Drives one job. ``run`` is one task; everything else may be called by streams meanwhile."""

    def __init__(
        self, request: Signed[JobRequest], grant: Grant, work: Work, model: ServedModel, services: JobServices
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self.request = request
        self.key = key_of(request.body)
        self.job = NodeJob(services.identity, request, grant, arrived_at=self._clock())
        self.bell = Bell()  #: rings when there are frames to send, or something else has changed
        self.accepted = False
        self.over_at: float | None = None  #: monotonic seconds
        self._grant = grant
        self._work = work
        self._inputs = JobInputs(request.body.salt, input_refs(work.params), services.input_limit_bytes)
        self._model = model
        self._services = services
        self._attachment: Attachment | None = None
        self._switch = StopSwitch()
        self._leaving: asyncio.TimerHandle | None = None  #: cancels a job whose client does not come back
        self._deadline: asyncio.TimerHandle | None = None  #: ends a job that outlasts the drain
        self._draining = False
        self._books_closed = False

    @property
    def _job_key(self) -> str:
        """What the engine calls it."""
        return f"{self.key.client}/{self.key.job}/{self.key.segment}"

    @property
    def has_whole_context(self) -> bool:
        """See ``ServedModel``."""
        return self._model.has_whole_context

    # What streams do with it

    def attach(self, attachment: Attachment) -> None:
        """Let a stream send the frames; one that did so before is replaced."""
        if self._leaving is not None:
            self._leaving.cancel()
        if self._attachment is not None or self._leaving is not None:
            self._inputs.restart()
        self._attachment = attachment
        self.bell.ring()

    def detach(self, attachment: Attachment) -> None:
        """A stream has ended; without another one within the grace the job is cancelled."""
        if self._attachment is not attachment:
            return
        self._attachment = None
        if not self.job.is_over:
            self._leaving = asyncio.get_running_loop().call_later(REATTACH_GRACE_S, self.cancel)
        self.bell.ring()

    def is_attached(self, attachment: Attachment) -> bool:
        """Whether no other stream has taken this one's place."""
        return self._attachment is attachment

    def cancel(self) -> None:
        """End the job with what was sent so far."""
        self._switch.throw(Cancelled())

    def stop(self, error: JobError) -> None:
        """End the job with an error."""
        self._switch.throw(error)

    def receive_input(self, piece: BlobFrame) -> None:
        """Take a piece of the job's input.

        Raises:
            JobError: ``unexpected_message``: before ``accepted``. ``blob_invalid``.
        """
        if not self.accepted:
            raise job_error(ErrorCode.UNEXPECTED_MESSAGE, "Input comes after the job was accepted.")
        self._inputs.receive(piece)

    def receive_voucher(self, envelope: Envelope) -> None:
        """Check and keep a voucher.

        Raises:
            JobError: ``bad_voucher``.
        """
        voucher = self.job.receive_voucher(envelope)
        if voucher is None:
            return
        self.bell.ring()
        services, body = self._services, voucher.body
        services.desk.vouch(self.key, body.start + body.count)
        services.outbox.put(self.key, voucher, self.job.receipt if body.final else None)
        if self._books_closed:  # nobody waits for a better one any more
            services.outbox.release(self.key)
        if body.final or self._books_closed:
            services.outbox_ready()

    async def keeps_final_voucher(self) -> bool:
        """Return whether the client's final voucher is here, and on disk: it survives this process."""
        return self.job.is_settled and await self._services.outbox.write_pending()

    def drain(self, deadline_s: float) -> None:
        """Tell the client that the node stops; the job ends in ``deadline_s`` seconds at the latest."""
        self._draining = True
        if not self.job.is_over:
            self.job.draining(deadline_s)
            text = "The node stops and could not finish this job in time; send it to another node."
            error = job_error(ErrorCode.DRAINING, text)
            self._deadline = asyncio.get_running_loop().call_later(deadline_s, self.stop, error)
        self.bell.ring()

    # The job itself

    async def run(self) -> None:
        """Prepare, queue, generate, settle. Ends with ``done`` or ``error`` among the frames."""
        loss: EngineError | None = None
        try:
            await self._serve()
        except JobError as error:
            self._fail(error)
        except EngineError as error:
            loss = error
            self._fail(job_error_of_engine(error))
        except Cancelled:  # before it was accepted: there is nothing to pay and no receipt
            self._fail(job_error(ErrorCode.CANCELLED, "The job was cancelled before it was accepted."))
        except Exception:
            logger.exception("job failed", extra={"event": "job_crashed", "job_id": self.key.job})
            self._fail(job_error(ErrorCode.INTERNAL, "The node failed; try another one."))
        self._note_loss(loss)
        for timer in (self._leaving, self._deadline):
            if timer is not None:
                timer.cancel()
        if self.accepted:
            await close_books(self.key, self.job, self._services, bell=self.bell, may_wait=self._voucher_may_come)
            self._books_closed = True
        else:
            await self._services.desk.forget(self.key)

    def _note_loss(self, loss: EngineError | None) -> None:
        """Count an engine that this job cost: with which it ended, or that was lost as the job did not obey its end."""
        last = self._model.engine.last_loss
        if not isinstance(loss, EngineLost) and last is not None and last.blamed == self._job_key:
            loss = last
        if loss is not None:
            self._services.engine_losses.note(self.request.body, self._job_key, loss)

    async def _serve(self) -> None:
        prepared = await self._until_deadline(self._work.prepare(self._model.engine))
        self._model.scheduler.check_room(self._clock())
        worst_case = self._worst_case_microcredits(prepared.input_units)
        await self._services.desk.reserve(self.key, self._grant, worst_case)
        try:
            reason = await self._take_turn(prepared)
        except Cancelled:
            if not self.accepted:
                raise
            reason = "cancelled"
        self._finish(reason, prepared)

    async def _take_turn(self, prepared: Prepared) -> str:
        """Accept, take the input, queue and generate; return the finish reason."""
        budget, scheduler = self._services.input_budget, self._model.scheduler
        budget.take(self._inputs.declared_bytes)
        started = asyncio.Event()
        ticket = Ticket(
            priority=self._grant.priority,
            input_units=prepared.input_units,
            output_units=worst_case_output_units(self._work.params),
            on_start=started.set,
            on_move=self._moved,
        )
        try:
            if self._inputs.is_complete:
                scheduler.enter(ticket, self._clock())
            self._accept(ticket, prepared)
            if not self._inputs.is_complete:  # a slow sender holds no slot
                await self._until_deadline(self._inputs.wait())
                scheduler.enter(ticket, self._clock())
            await self._until_deadline(started.wait())
            return await self._generate(ticket)
        finally:
            scheduler.leave(ticket, self._clock())
            budget.give_back(self._inputs.declared_bytes)

    async def _generate(self, ticket: Ticket) -> str:
        engine = self._model.engine
        if not engine.healthy:
            await self._until_deadline(engine.wait_healthy())
        limit_s = min(self._left_s(), self._work.time_limit_s(self._services.job_time_limit_s))
        inputs = await self._inputs.wait()
        order = self._work.order(JobOrder(job_key=self._job_key, deadline_s=limit_s, inputs=inputs))
        self._inputs.forget()
        relay = OutputRelay(
            job=self.job,
            params=self._work.params,
            ticket=ticket,
            bell=self.bell,
            delivery=self._services.delivery,
            unsent_bytes=self._unsent_bytes,
            clock=self._clock,
        )
        late = job_error(ErrorCode.TIME_LIMIT, f"The job took longer than {limit_s:.3g} s; ask for less.")
        return await self._switch.guard(relay.run(engine, order), limit_s=limit_s, late=late)

    async def _until_deadline(self, step: Coroutine[Any, Any, T]) -> T:
        late = job_error(ErrorCode.DEADLINE_PASSED, "The request's deadline passed before the job was done.")
        return await self._switch.guard(step, limit_s=self._left_s(), late=late)

    def _left_s(self) -> float:
        """Return seconds until the request's deadline, >= 0."""
        return max(0.0, self.request.body.deadline_at - self._services.unix_time())

    def _worst_case_microcredits(self, input_units: int) -> int:
        return self._services.network().cost_microcredits(
            self.job.task,
            self.request.body.model,
            price_version=self.job.grant.price,
            input_units=input_units,
            output_units=worst_case_output_units(self._work.params),
        )

    def _unsent_bytes(self) -> int:
        start = self._attachment.cursor if self._attachment is not None else 0
        return sum(len(frame) for frame in self.job.frames[start:])

    # What is written

    def _accept(self, ticket: Ticket, prepared: Prepared) -> None:
        self.accepted = True
        message = AcceptedFrame(
            prompt_tokens=prepared.input_tokens,
            position=ticket.position,
            eta_s=ticket.eta_s,
            fingerprint=self._model.info.fingerprint,
            prompt_digest=prepared.digest,
        )
        self.job.accept(message, input_count=prepared.input_units)
        self.bell.ring()

    def _moved(self, position: int, eta_s: float) -> None:
        if self.accepted and not self.job.is_over:
            self.job.queued(position, eta_s)
            self.bell.ring()

    def _fail(self, error: JobError) -> None:
        self.job.fail(error)
        self._mark_over(error.code)

    def _finish(self, reason: str, prepared: Prepared) -> None:
        usage = self._work.usage(prepared, self.job.output)
        finished_at = int(self._services.unix_time())
        self.job.finish(usage=usage, finish_reason=reason, now=self._clock(), finished_at=finished_at)
        self._mark_over(reason)

    def _mark_over(self, how: str) -> None:
        self.over_at = self._clock()
        details = {
            "event": "job_over",
            "job_id": self.key.job,
            "how": how,
            "output_units": self.job.output.count,
            "duration_s": round(self.over_at - self.job.arrived_at, 3),
        }
        logger.info("job over: %s", how, extra=details)
        self.bell.ring()

    def _voucher_may_come(self) -> bool:
        if self._services.delivery is Delivery.WHOLE:
            return False
        return self._attachment is not None or not self._draining
