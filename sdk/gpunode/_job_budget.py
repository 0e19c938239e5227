"""What a job has cost so far, and what its rest may cost: the caller's limit holds for all parts together. Pure."""

from collections.abc import Callable

from gpunode_protocol.payloads import input_tokens_bound, worst_case_output_units
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT, PriceTable
from gpunode_protocol.vouchers import Voucher

from gpunode._accounting import cost_of
from gpunode._job_requests import Job, Order
from gpunode._placing import cost_microcredits


class JobBudget:
    """The money of one job.

    Args:
        job: with its limit.
        prices: the network's, now.
    """

    def __init__(self, job: Job, prices: Callable[[], PriceTable]) -> None:
        self._job = job
        self._prices = prices
        self._spent_microcredits = 0
        self._units: tuple[int, int] | None = None

    def spend(self, voucher: Voucher) -> None:
        """Note a node's last voucher: it is owed, whoever finishes the job."""
        self._spent_microcredits += cost_of(voucher, self._prices())

    def plan(self, order: Order, prompt_tokens: int | None) -> None:
        """Note what the next node is asked for.

        prompt_tokens: as a node with the same weights has counted them; None = nobody has.
        """
        counted = input_tokens_bound(order.params) if prompt_tokens is None else prompt_tokens
        replayed = 0 if order.resume is None else len(order.resume.ids)
        self._units = counted + replayed, worst_case_output_units(order.params)

    def rest_microcredits(self, model: str) -> int:
        """Return what the rest may cost at a node that advertises the model so; before ``plan``, the job's cost."""
        if self._units is None:
            return self._job.cost_microcredits
        return cost_microcredits(self._prices(), self._job.task, model, *self._units)

    def allows(self, model: str) -> bool:
        """Return whether the limit lets such a node do the rest."""
        return not self.problem(model)

    def problem(self, model: str) -> str:
        """Return why it does not, a sentence; empty if it does. Before anything was spent the ranking sees to it."""
        limit, spent = self._job.limit_microcredits, self._spent_microcredits
        if limit is None or not spent or spent + (rest := self.rest_microcredits(model)) <= limit:
            return ""
        return (
            f"Of the limit of {_credits(limit)} credits, {_credits(spent)} are spent, and the rest may cost "
            f"{_credits(rest)}: nobody was asked for it."
        )


def _credits(microcredits: int) -> str:
    return f"{microcredits / MICROCREDITS_PER_CREDIT:g}"
