"""The attempts of a job that failed, and what follows from them for the nodes."""

import logging

from gpunode_protocol.errors import ErrorCode, GpunodeError, JobError, VerificationFailed
from gpunode_protocol.identity import PeerId

from gpunode._blame import Blame, blame_for
from gpunode._job_services import JobServices
from gpunode._node_queue import NodeQueue
from gpunode._race import Part
from gpunode._selection import Choice
from gpunode.errors import RequestRefused
from gpunode.types import Attempt

_log = logging.getLogger(__name__)


class FailedAttempts:
    """Keeps them in order; nodes at fault are asked last from then on; liars are reported, and not asked for a day.

    A node that says that the request is at fault may lie, so nothing is held against it, or believed, until another
    node has said the same or has done the job.

    Args:
        services: of the client.

    ``is_only_load``: nobody failed; whoever was asked had no room, or was about to leave. ``excluded``: nodes
    that are not asked again for this job: their frames or receipts do not verify, they cannot go on with its answer,
    they say that others may be able, or they began it and then found fault with the request.
    """

    def __init__(self, services: JobServices) -> None:
        self.is_only_load = True
        self.excluded: set[PeerId] = set()
        self._services = services
        self._attempts: list[Attempt] = []
        self._refusals: list[tuple[Choice, JobError]] = []

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All of them, oldest first."""
        return tuple(self._attempts)

    @property
    def last_refusal(self) -> tuple[Choice, JobError] | None:
        """Who said last that the request is at fault, and how; None if something else failed too, or nothing."""
        return self._refusals[-1] if 0 < len(self._attempts) == len(self._refusals) else None

    @property
    def is_request_in_doubt(self) -> bool:
        """Whether a node said that every node would refuse the request, and none has done it."""
        return any(not error.retryable for _, error in self._refusals)

    def has_tried(self, node: PeerId) -> bool:
        """Return whether an attempt at a node has failed."""
        return any(attempt.node == node for attempt in self._attempts)

    @property
    def refusers(self) -> frozenset[PeerId]:
        """The nodes that found fault with the request."""
        return frozenset(choice.node for choice, _ in self._refusals)

    def unreachable(self, choice: Choice, reason: str) -> None:
        """Note a node to which no stream could be opened."""
        self._blame(choice)
        self._add(choice, reason)

    def outrun(self, choice: Choice) -> None:
        """Note a node that lost a race; nobody is to blame."""
        reason = "another node, asked when this one took long, was the first to begin"
        self._attempts.append(Attempt(choice.node, choice.candidate.body.region.value, reason))

    def failed(self, part: Part, error: GpunodeError) -> Blame:
        """Note a node that failed with an error; return whose fault it is."""
        services, choice, job = self._services, part.choice, part.link.job
        blame = blame_for(error, job.error_told)
        self.is_only_load = self.is_only_load and blame is Blame.LOAD
        if blame is Blame.UNFIT or isinstance(error, VerificationFailed):
            self.excluded.add(choice.node)
        if isinstance(error, VerificationFailed):
            services.accounting.report(job.request, error)
            services.measurements.lied(choice.node, error.fault)
        if blame is Blame.NODE:
            self._blame(choice)
        elif isinstance(error, JobError):
            if blame is Blame.REQUEST:
                self._refusals.append((choice, error))
                if error.retryable or job.accepted is not None:  # it will end there again, as often as it is asked
                    self.excluded.add(choice.node)
            elif blame in {Blame.LOAD, Blame.GRANT}:
                services.breakers.busy(choice.node, services.monotonic(), error.retry_after_s)
        self._add(choice, str(error))
        return blame

    def _is_confirmed(self, choice: Choice, code: ErrorCode) -> bool:
        """Return whether another node said the same of the request before."""
        return any(error.code is code and other.node != choice.node for other, error in self._refusals)

    def consider_refusal(self, choice: Choice, error: JobError, nodes: NodeQueue) -> None:
        """Let a request go on that a node found fault with: a prompt that is too long goes to larger contexts first.

        Raises:
            RequestRefused: another node has said the same.
        """
        if error.code is ErrorCode.CONTEXT_OVERFLOW:
            context = choice.candidate.body.model.context
            if nodes.has(is_larger := lambda other: other.candidate.body.model.context > context):
                nodes.keep(is_larger)
                return
        if not error.retryable and self._is_confirmed(choice, error.code):
            raise RequestRefused(str(error), code=error.code, node=choice.node) from error

    def refuted(self, by: Choice) -> None:
        """Note that a node did the job: who said that the request is at fault is at fault.

        Not where the node said that others may be able, or that its context is too small.
        """
        for choice, error in self._refusals:
            if not error.retryable and error.code is not ErrorCode.CONTEXT_OVERFLOW and choice.node != by.node:
                self._blame(choice)
        self._refusals.clear()

    def _blame(self, choice: Choice) -> None:
        services = self._services
        self.is_only_load = False
        services.breakers.failed(choice.node, services.monotonic())
        services.good_nodes.forget(choice.candidate.advert)
        services.measurements.job_failed(choice.node, choice.model)

    def _add(self, choice: Choice, reason: str) -> None:
        self._attempts.append(Attempt(choice.node, choice.candidate.body.region.value, reason))
        _log.info("node %s: %s", choice.node, reason, extra={"event": "attempt_failed", "node": choice.node})
