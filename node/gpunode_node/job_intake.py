"""From a request's bytes to a running job: every check that needs no work, in the order of its price."""

import asyncio

from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.node_stream import RequestChecks, open_request
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.signing import Envelope

from gpunode_node.admission import check_grant_of
from gpunode_node.job_registry import JobRegistry
from gpunode_node.job_run import JobRun
from gpunode_node.job_services import JobServices
from gpunode_node.served_model import ServedModel
from gpunode_node.tasks import work_of
from gpunode_node.work import check_weights

UNWRITABLE_RETRY_AFTER_S = 30.0
"""When a node whose disk or memory is full may be asked again."""


class JobIntake:
    """Opens jobs.

    Args:
        services: shared by all jobs.
        registry: of running and finished jobs.
        models: what this node serves; may change while it runs.
    """

    def __init__(self, services: JobServices, registry: JobRegistry, models: list[ServedModel]) -> None:
        self._services = services
        self._registry = registry
        self.models = models
        self.draining = False  #: refuse everything new
        self.paused = False  #: the same, for a while

    @property
    def closed(self) -> bool:
        """Whether new jobs are refused."""
        return self.draining or self.paused

    def open(self, envelope: Envelope, peer: PeerId, origin: str = "") -> JobRun:
        """Return the job of a request: the one that runs or ran for the same bytes, or a new one.

        Args:
            envelope: the request.
            peer: who sent it.
            origin: the address that it came from, see ``origin_of``; none = the peer.

        Raises:
            JobError: with the code that says which check failed.
        """
        known = self._registry.find(peer, envelope)
        if known is not None:
            return known
        self._check_open()
        origin = origin or peer
        self._registry.check_room(peer, origin)
        services = self._services
        view, now = services.network(), services.unix_time()
        request = open_request(envelope, RequestChecks(view.trust.network, services.identity.peer_id, peer, now))
        grant = check_grant_of(request, view.trust, view.revocations, now=now)
        services.engine_losses.check(request.body)
        model = self._model_of(request.body)
        check_weights(request.body, model.info)
        work = work_of(request.body, model.info)
        model.scheduler.check_room(asyncio.get_running_loop().time())
        run = JobRun(request, grant, work, model, services)
        services.desk.begin(request, grant)
        self._registry.start(run, origin)
        return run

    def forget(self, run: JobRun) -> None:
        """Drop a job whose client does not come back for its result."""
        self._registry.forget(run)

    @property
    def takes_jobs(self) -> bool:
        """Whether a new job would be looked at."""
        return not (self.closed or self._problem)

    def check_memory(self) -> None:
        """See that there is memory for one more stream.

        Raises:
            JobError: ``busy``.
        """
        if problem := self._services.memory.problem:
            raise _busy(problem)

    @property
    def _problem(self) -> str:
        return self._services.outbox.problem or self._services.memory.problem

    def _check_open(self) -> None:
        if self.draining:
            raise job_error(ErrorCode.DRAINING, "The node is about to stop and takes no new jobs; try another one.")
        if self.paused:
            raise job_error(ErrorCode.DRAINING, "The node's owner uses the machine for now; try another one.")
        if self._problem:
            raise _busy(self._problem)

    def _model_of(self, request: JobRequest) -> ServedModel:
        task = task_of(request.task)
        for model in self.models:
            if (model.task, model.name) == (task, request.model):
                return model
        served = ", ".join(f"{model.name} ({model.task})" for model in self.models) or "nothing at the moment"
        raise job_error(
            ErrorCode.UNKNOWN_MODEL, f"This node does not serve {request.model} for {task}; it serves {served}."
        )


def _busy(problem: str) -> JobError:
    return job_error(ErrorCode.BUSY, f"{problem} Try another node.", retry_after_s=UNWRITABLE_RETRY_AFTER_S)
