"""What a job has cost so far, and what its rest may cost: the caller's limit holds for all parts together."""

from dataclasses import replace

from gpunode_protocol.payloads import input_tokens_bound, worst_case_output_units
from gpunode_protocol.vouchers import Voucher

from gpunode._job_cost import JobCost, cost_of
from gpunode._job_grants import JobGrants
from gpunode._job_requests import Job, Order
from gpunode._selection import Choice


class JobBudget:
    """The money of one job.

    Args:
        job: with what it may cost, and its limit.
        grants: the job's; each is charged by prices of its own.
    """

    def __init__(self, job: Job, grants: JobGrants) -> None:
        self._rest = job.cost
        self._grants = grants

    def spend(self, voucher: Voucher) -> None:
        """Note a node's last voucher: it is owed, whoever finishes the job."""
        spent = self._rest.spent_microcredits + cost_of(voucher, self._grants.prices_of(voucher.jti))
        self._rest = replace(self._rest, spent_microcredits=spent)

    def plan(self, order: Order, prompt_tokens: int | None) -> None:
        """Note what the next node is asked for.

        prompt_tokens: as a node with the same weights has counted them; None = nobody has.
        """
        counted = input_tokens_bound(order.params) if prompt_tokens is None else prompt_tokens
        replayed = 0 if order.resume is None else len(order.resume.ids)
        output_units = worst_case_output_units(order.params)
        self._rest = replace(self._rest, input_units=counted + replayed, output_units=output_units)

    def rest(self, model: str | None = None) -> JobCost:
        """Return what the rest may cost at a node that advertises the model so; before ``plan``, the whole job.

        model: None = at whichever of those that were ranked for the job.
        """
        return self._rest if model is None else replace(self._rest, models=frozenset({model}))

    def problem(self, choice: Choice) -> str:
        """Return why the limit does not let a node do the rest, by the prices of its grant; empty if it does."""
        return self.rest(choice.model).problem(self._grants.for_node(choice.node).prices)

    def allows(self, choice: Choice) -> bool:
        """Return whether it does."""
        return not self.problem(choice)

    def covers(self, choice: Choice) -> bool:
        """Return whether a node may do the rest for what was promised for the job."""
        return self.allows(choice) and self._grants.has_promised(self.rest(choice.model))
