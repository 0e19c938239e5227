"""What every job of this node uses."""

from collections.abc import Callable
from dataclasses import dataclass

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import Trust

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.outbox import Outbox

DEFAULT_JOB_TIME_LIMIT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class NetworkView:
    """What the node believes of its network at the moment."""

    trust: Trust
    revocations: Revocations | None
    prices: PriceTable

    def cost_microcredits(self, task: Task, model: str, *, input_units: int, output_units: int) -> int:
        """Return what units cost.

        Raises:
            JobError: ``unknown_model``: the network has no price for this task.
        """
        try:
            return self.prices.cost_microcredits(task, model, input_units=input_units, output_units=output_units)
        except KeyError as error:
            raise job_error(ErrorCode.UNKNOWN_MODEL, f"This network has no price for the task {task}.") from error


@dataclass(frozen=True, kw_only=True)
class JobServices:
    """Shared by all jobs.

    Args:
        identity: the node's key.
        network: returns the newest view.
        desk, outbox: open.
        memory: watched.
        outbox_ready: called when the outbox has something for the tracker.
        job_time_limit_s: longest time that a job may hold a slot, seconds.
        unix_time: seconds.
    """

    identity: Identity
    network: Callable[[], NetworkView]
    desk: AdmissionDesk
    outbox: Outbox
    memory: MemoryWatch
    outbox_ready: Callable[[], None]
    job_time_limit_s: float = DEFAULT_JOB_TIME_LIMIT_S
    unix_time: Callable[[], float]
