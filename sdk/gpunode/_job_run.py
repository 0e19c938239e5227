"""One job at one node after another until one answers: streams, failures, vouchers, complaints."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import ClientJob, Completed, Failed, JobEvent
from gpunode_protocol.errors import ErrorCode, GpunodeError, JobError, VerificationFailed, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.errors import MeshError
from gpunode_protocol.mesh.interface import OPEN_DEADLINE_S, Mesh, MeshStream
from gpunode_protocol.mesh.multiaddrs import is_relayed
from gpunode_protocol.messages import JOB_PROTOCOL, SegmentFrame, TokensFrame
from gpunode_protocol.patience import Patience
from gpunode_protocol.tasks import Task

from gpunode._accounting import Accounting
from gpunode._background import Background
from gpunode._breakers import Breakers
from gpunode._good_nodes import GoodNodes
from gpunode._grants import GrantStore, HeldGrant
from gpunode._job_requests import Job, JobSigner
from gpunode._job_timing import Spans, timing_of
from gpunode._measurements import Measurements
from gpunode._selection import Choice
from gpunode._transport import JobLink, ReadingClock
from gpunode.errors import AnswerInterrupted, NoNodeFound, RequestRefused
from gpunode.types import Attempt, Route

_log = logging.getLogger(__name__)

_REQUEST_FAULTS: Final = frozenset(
    {ErrorCode.INVALID_PARAMETERS, ErrorCode.UNKNOWN_TASK, ErrorCode.TASK_NOT_ALLOWED, ErrorCode.BLOB_INVALID}
)
"""Every node would refuse alike."""
_NEEDS_NEW_GRANT: Final = frozenset(
    {
        ErrorCode.REPLAY_MEMORY_FULL,
        ErrorCode.GRANT_EXHAUSTED,
        ErrorCode.GRANT_EXPIRED,
        ErrorCode.GRANT_REVOKED,
        ErrorCode.GRANT_INVALID,
    }
)
_NOT_A_FAILURE: Final = frozenset({ErrorCode.BUSY, ErrorCode.DRAINING, ErrorCode.TOO_MANY_STREAMS})


@dataclass(frozen=True)
class JobServices:
    """What every job of a client shares. patience: deadlines at a node; monotonic: seconds; clock: Unix seconds."""

    mesh: Mesh
    signer: JobSigner
    grants: GrantStore
    breakers: Breakers
    good_nodes: GoodNodes
    measurements: Measurements
    accounting: Accounting
    background: Background
    patience: Callable[[Choice, Job], Patience]
    monotonic: Callable[[], float]
    clock: Callable[[], float]
    max_attempts: int


class JobRun:
    """One job.

    Args:
        services: shared with other jobs.
        job: what is asked for.
        choices: nodes, best first.
        grant: to present first.
        inputs: blobs that the parameters refer to.
    """

    def __init__(
        self, services: JobServices, job: Job, choices: Sequence[Choice], grant: HeldGrant, inputs: Sequence[Blob] = ()
    ) -> None:
        self.job = job
        self.route: Route | None = None
        self.text_parts: list[str] = []
        self.ids: list[int] = []
        self.blobs: list[Blob] = []
        self.first_output_at: float | None = None
        self._services = services
        self._choices = deque(choices)
        self._grant = grant
        self._grants_replaced = 0
        self._named_grants: dict[PeerId, HeldGrant] = {}
        self._inputs = inputs
        self._segment = 0
        self._sent_at = 0.0
        self._failed: list[Attempt] = []

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """Yield the job's events up to ``Completed``; closing the generator early cancels the job.

        Raises:
            NoNodeFound: nobody answered. RequestRefused: the request itself is at fault.
            AnswerInterrupted: the answer broke off after its beginning. VerificationFailed: it does not verify.
            ClientError: no grant could be had.
        """
        while True:
            choice, link = await self._connect()
            failure: GpunodeError | None = None
            try:
                while failure is None and link.completed is None:
                    for event in await self._next(link):
                        if isinstance(event, Failed):
                            failure = event.error
                        else:
                            self._note(event)
                            yield event
                if failure is None:
                    self._succeeded(choice, link)
                    return
            finally:
                self._services.background.spawn(self._leave(link, failure))
            await self._give_up(choice, link, failure)

    async def _connect(self) -> tuple[Choice, JobLink]:
        """Open a stream to the next node that can be reached."""
        services = self._services
        while self._choices and len(self._failed) < services.max_attempts and self._left_s() > 0:
            choice = self._choices.popleft()
            body = choice.candidate.body
            try:
                stream = await services.mesh.open_stream(
                    choice.node, JOB_PROTOCOL, body.addresses, deadline_s=min(OPEN_DEADLINE_S, self._left_s())
                )
            except MeshError as error:
                self._failed_at(choice, str(error))
                continue
            self.route = Route(
                node=choice.node,
                region=body.region.value,
                rtt_ms=choice.probe.rtt_ms if choice.probe else None,
                path="relayed" if is_relayed(stream.remote_address) else "direct",
                source=choice.candidate.source,
                failed=tuple(self._failed),
            )
            return choice, self._link(choice, stream)
        raise self._exhausted()

    def _link(self, choice: Choice, stream: MeshStream) -> JobLink:
        services = self._services
        clock = ReadingClock(services.monotonic)
        grant = self._named_grants.get(choice.node, self._grant)
        job = ClientJob(
            identity=services.signer.identity,
            request=services.signer.sign(self.job, choice, grant, self._segment),
            jti=grant.grant.jti,
            opened_at=clock(),
            patience=services.patience(choice, self.job),
            inputs=self._inputs,
        )
        self._segment += 1
        self._sent_at = services.monotonic()
        return JobLink(stream, job, clock)

    def _left_s(self) -> float:
        return self.job.ends_at - self._services.monotonic()

    async def _next(self, link: JobLink) -> list[JobEvent]:
        try:
            async with asyncio.timeout(max(0.0, self._left_s())):
                return await link.next_events()
        except TimeoutError:
            return [Failed(job_error(ErrorCode.DEADLINE_PASSED, "The job took longer than its time limit."))]

    def _note(self, event: JobEvent) -> None:
        if isinstance(event, TokensFrame | SegmentFrame | Blob) and self.first_output_at is None:
            self.first_output_at = self._services.monotonic()
        if isinstance(event, TokensFrame):
            self.text_parts.append(event.text)
            self.ids.extend(event.ids)
        elif isinstance(event, Blob):
            self.blobs.append(event)

    def _succeeded(self, choice: Choice, link: JobLink) -> None:
        services = self._services
        services.breakers.succeeded(choice.node)
        services.good_nodes.remember(choice.candidate.advert)
        assert link.completed is not None  # noqa: S101 -- otherwise the job is not over
        spans = self._spans(link.completed, link.clock.lost_s)
        timing = timing_of(choice, self.job.task, link.completed.usage, spans, at=services.clock())
        services.measurements.job_done(choice.node, choice.model, timing)

    def _spans(self, completed: Completed, paused_s: float) -> Spans:
        now, stated = self._services.monotonic(), completed.receipt.body
        first_at = now if self.first_output_at is None else self.first_output_at
        return Spans(
            first_ms=1000 * (first_at - self._sent_at),
            total_ms=1000 * (now - self._sent_at),
            paused_ms=1000 * paused_s,
            stated_decode_ms=float(max(0, stated.duration_ms - stated.ttft_ms)),
        )

    async def _leave(self, link: JobLink, failure: GpunodeError | None) -> None:
        """Pay what is owed and close the stream; a job that is not over is cancelled first."""
        if not link.job.is_over:
            await link.wind_down()
        accounting = self._services.accounting
        if link.completed is not None:
            if not await link.hand_over():
                accounting.submit(link.completed.voucher, link.completed.receipt)
        elif isinstance(failure, VerificationFailed):
            link.abort()
        elif (voucher := link.job.closing_voucher()) is not None:
            accounting.submit(voucher)
            await link.hand_over()
        else:
            await link.stream.close()  # the node waits for it, so that its last words are read

    async def _give_up(self, choice: Choice, link: JobLink, error: GpunodeError) -> None:
        """Raise, unless another attempt may be made."""
        services = self._services
        if isinstance(error, VerificationFailed):
            services.breakers.failed(choice.node, services.monotonic())
            services.good_nodes.forget(choice.candidate.advert)
            services.measurements.job_failed(choice.node, choice.model)
            services.accounting.report(link.job.request, error)
            raise error
        if self.first_output_at is not None:
            self._failed_at(choice, str(error))
            raise self._interrupted(error) from error
        code = error.code if isinstance(error, JobError) else None
        if code in _REQUEST_FAULTS:
            raise RequestRefused(str(error), code=code, node=choice.node) from error
        if code in _NEEDS_NEW_GRANT and await self._replace_grant(choice, code):
            return
        if code is ErrorCode.CONTEXT_OVERFLOW:
            self._keep_larger_contexts(choice, error)
        self._failed_at(choice, str(error), error)

    async def _replace_grant(self, choice: Choice, code: ErrorCode) -> bool:
        """Get another grant and ask the node again; False if that was done before.

        A node limits what it does for one open grant; a second refusal means that the job alone is beyond that limit,
        and a grant in the node's own name is funded in full.
        """
        self._grants_replaced += 1
        grants, job = self._services.grants, self.job
        if self._grants_replaced == 1:
            refused = self._grant.grant.jti
            self._grant = await grants.replace(job.task, refused=refused, cost_microcredits=job.cost_microcredits)
        elif self._grants_replaced == 2 and code is ErrorCode.GRANT_EXHAUSTED:
            self._named_grants[choice.node] = await grants.named(
                job.task, choice.node, cost_microcredits=job.cost_microcredits
            )
        else:
            return False
        self._choices.appendleft(choice)
        return True

    def _keep_larger_contexts(self, choice: Choice, error: GpunodeError) -> None:
        context = choice.candidate.body.model.context
        self._choices = deque(other for other in self._choices if other.candidate.body.model.context > context)
        if not self._choices:
            raise RequestRefused(str(error), code=ErrorCode.CONTEXT_OVERFLOW, node=choice.node) from error

    def _failed_at(self, choice: Choice, reason: str, error: GpunodeError | None = None) -> None:
        services, now = self._services, self._services.monotonic()
        if isinstance(error, JobError) and error.code in _NOT_A_FAILURE:
            services.breakers.busy(choice.node, now, error.retry_after_s)
        else:
            services.breakers.failed(choice.node, now)
            services.good_nodes.forget(choice.candidate.advert)
            services.measurements.job_failed(choice.node, choice.model)
        self._failed.append(Attempt(node=choice.node, region=choice.candidate.body.region.value, reason=reason))
        _log.info("node %s: %s", choice.node, reason, extra={"event": "attempt_failed", "node": choice.node})

    def _interrupted(self, error: GpunodeError) -> AnswerInterrupted:
        assert self.route is not None  # noqa: S101 -- output came, so there was a stream
        return AnswerInterrupted(
            f"The answer broke off after {self._output_so_far()}: {error} What came until then is in the exception "
            f"({'.blobs' if self.blobs else '.text'}) and is paid for. Ask again for a whole answer.",
            text="".join(self.text_parts),
            ids=tuple(self.ids),
            blobs=tuple(self.blobs),
            route=self.route,
            job=self.job.id,
        )

    def _output_so_far(self) -> str:
        match self.job.task:
            case Task.LLM:
                return f"{len(self.ids)} tokens"
            case Task.IMAGE_GEN:
                return f"{len(self.blobs)} pictures"
            case _:
                return "its beginning"

    def _exhausted(self) -> NoNodeFound:
        what = "None of the nodes that were tried answered." if self._left_s() > 0 else "The job's time is over."
        return NoNodeFound(f"{what} Try again shortly; 'gpunode nodes' shows who is there.", attempts=self._failed)
