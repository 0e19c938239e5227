"""What every job of this node uses."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import Trust
from gpunode_protocol.vouchers import Voucher

from gpunode_node.admission import JobKey
from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.delivery import Delivery
from gpunode_node.engine_losses import EngineLosses
from gpunode_node.job_inputs import DEFAULT_INPUT_LIMIT_BYTES, InputBudget
from gpunode_node.memory_watch import MemoryWatch

DEFAULT_JOB_TIME_LIMIT_S = 300.0
DEFAULT_INPUT_BUDGET_BYTES = 256 * 1024 * 1024
"""Of all jobs' files that are in memory at once."""

_EARLIER_PRICES = 16
"""Grants live for an hour; nobody changes prices more often than every few minutes."""


@dataclass(frozen=True, kw_only=True)
class NetworkView:
    """What the node believes of its network at the moment. earlier_prices: seen before ``prices``, newest first."""

    trust: Trust
    revocations: Revocations | None
    prices: PriceTable
    earlier_prices: tuple[PriceTable, ...] = ()

    def repriced(self, prices: PriceTable) -> "NetworkView":
        """Return it with newer prices; those of grants that may still live are kept."""
        if prices.version == self.prices.version:
            return self
        return replace(self, prices=prices, earlier_prices=(self.prices, *self.earlier_prices)[:_EARLIER_PRICES])

    def cost_microcredits(
        self, task: Task, model: str, *, price_version: int, input_units: int, output_units: int
    ) -> int:
        """Return what units cost under a grant: the tracker pays for them by the version of the prices that it names.

        Of a version that was never seen, a grant is counted by whichever prices are the highest that were.

        Raises:
            JobError: ``unknown_model``: the network has no price for this task.
        """
        seen = (self.prices, *self.earlier_prices)
        tables = [table for table in seen if table.version == price_version] or seen
        try:
            return max(
                table.cost_microcredits(task, model, input_units=input_units, output_units=output_units)
                for table in tables
            )
        except KeyError as error:
            raise job_error(ErrorCode.UNKNOWN_MODEL, f"This network has no price for the task {task}.") from error


class JobOutbox(Protocol):
    """Where what a job earned waits for the tracker."""

    @property
    def problem(self) -> str:
        """Why new jobs cannot be taken, empty when they can."""
        ...

    def put(self, key: JobKey, voucher: Signed[Voucher], receipt: Signed[Receipt] | None = None, /) -> None:
        """Keep the newest voucher of a segment, with the final one its receipt."""
        ...

    def release(self, key: JobKey, /) -> None:
        """Let the tracker have it: no better one comes any more."""
        ...

    async def write_pending(self) -> bool:
        """Write what is not on disk yet; return whether all of it is."""
        ...


@dataclass(frozen=True, kw_only=True)
class JobServices:
    """Shared by all jobs.

    Args:
        identity: the node's key.
        network: returns the newest view.
        desk, outbox: open.
        memory: watched.
        outbox_ready: called when the outbox has something for the tracker.
        delivery: of all jobs.
        job_time_limit_s: longest time that a text job may hold a slot, seconds.
        input_limit_bytes: of the files that one job brings. input_budget: of those of all jobs.
        engine_losses: which jobs cost an engine.
        unix_time: seconds.
    """

    identity: Identity
    network: Callable[[], NetworkView]
    desk: AdmissionDesk
    outbox: JobOutbox
    memory: MemoryWatch
    outbox_ready: Callable[[], None]
    delivery: Delivery = Delivery.STREAM
    job_time_limit_s: float = DEFAULT_JOB_TIME_LIMIT_S
    input_limit_bytes: int = DEFAULT_INPUT_LIMIT_BYTES
    input_budget: InputBudget = field(default_factory=lambda: InputBudget(DEFAULT_INPUT_BUDGET_BYTES))
    engine_losses: EngineLosses = field(default_factory=EngineLosses)
    unix_time: Callable[[], float]
