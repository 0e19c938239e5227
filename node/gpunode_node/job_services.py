"""What every job of this node uses."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import Trust

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.job_inputs import DEFAULT_INPUT_LIMIT_BYTES, InputBudget
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.outbox import Outbox

DEFAULT_JOB_TIME_LIMIT_S = 300.0
DEFAULT_INPUT_BUDGET_BYTES = 256 * 1024 * 1024
"""Of all jobs' files that are in memory at once."""


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
        job_time_limit_s: longest time that a text job may hold a slot, seconds.
        input_limit_bytes: of the files that one job brings. input_budget: of those of all jobs.
        unix_time: seconds.
    """

    identity: Identity
    network: Callable[[], NetworkView]
    desk: AdmissionDesk
    outbox: Outbox
    memory: MemoryWatch
    outbox_ready: Callable[[], None]
    job_time_limit_s: float = DEFAULT_JOB_TIME_LIMIT_S
    input_limit_bytes: int = DEFAULT_INPUT_LIMIT_BYTES
    input_budget: InputBudget = field(default_factory=lambda: InputBudget(DEFAULT_INPUT_BUDGET_BYTES))
    unix_time: Callable[[], float]
