"""What jobs may cost, by whichever prices: a grant is charged by the version of the prices that it names. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from gpunode_protocol.payloads import Params, input_tokens_bound, worst_case_output_units
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT, PriceTable
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher


class Costing(Protocol):
    """What something may cost."""

    def at(self, prices: PriceTable) -> int:
        """Return it in micro-credits, at most."""
        ...

    def problem(self, prices: PriceTable) -> str:
        """Return why the caller's limit forbids that, a sentence; empty if it does not."""
        ...


@dataclass(frozen=True)
class JobCost:
    """A job, or the rest of one.

    models: as the nodes advertise them that may do it. input_units, output_units: at most, see ``prices``.
    spent_microcredits: what its earlier parts cost. limit_microcredits: the caller's for all together, None = none.
    """

    task: Task
    models: frozenset[str] = frozenset({""})
    input_units: int = 0
    output_units: int = 0
    spent_microcredits: int = 0
    limit_microcredits: int | None = None

    @classmethod
    def of(cls, task: Task, params: Params, models: Iterable[str] = ("",), *, limit: int | None = None) -> "JobCost":
        """Return the worst case of a whole job. models: "" = one without a price of its own. limit: micro-credits."""
        units = input_tokens_bound(params), worst_case_output_units(params)
        return cls(task, frozenset(models), *units, limit_microcredits=limit)

    def at(self, prices: PriceTable) -> int:
        """Return what the dearest model costs that the limit allows; where it allows none, the cheapest."""
        costs = self._costs(prices)
        return max((cost for cost in costs if self._allows(cost)), default=min(costs))

    def problem(self, prices: PriceTable) -> str:
        """Return why no model may do it."""
        cheapest, limit, spent = min(self._costs(prices)), self.limit_microcredits, self.spent_microcredits
        if limit is None or self._allows(cheapest):
            return ""
        if not spent:
            may_cost = f"The job may cost {_credits(cheapest)} credits by the prices of its grant"
            return f"{may_cost}, the limit is {_credits(limit)}."
        return (
            f"Of the limit of {_credits(limit)} credits, {_credits(spent)} are spent, and the rest may cost "
            f"{_credits(cheapest)}: nobody was asked for it."
        )

    def _costs(self, prices: PriceTable) -> list[int]:
        units = self.input_units, self.output_units
        return [cost_microcredits(prices, self.task, model, *units) for model in self.models]

    def _allows(self, cost: int) -> bool:
        return self.limit_microcredits is None or self.spent_microcredits + cost <= self.limit_microcredits


@dataclass(frozen=True)
class Sum:
    """Whatever has no limit. of: returns it in micro-credits."""

    of: Callable[[PriceTable], int]

    def at(self, prices: PriceTable) -> int:
        """Return the sum."""
        return self.of(prices)

    def problem(self, prices: PriceTable) -> str:  # noqa: ARG002 -- by no prices
        """Return that there is none."""
        return ""


NOTHING: Final = Sum(lambda _prices: 0)


def cost_microcredits(prices: PriceTable, task: Task, model: str, input_units: int, output_units: int) -> int:
    """Return a job's cost in micro-credits; 0 where the network has no price for the task."""
    try:
        return prices.cost_microcredits(task, model, input_units=input_units, output_units=output_units)
    except KeyError:
        return 0


def cost_of(voucher: Voucher, prices: PriceTable) -> int:
    """Return what a voucher promises, in micro-credits; prices: of its grant's version."""
    return cost_microcredits(prices, voucher.task, voucher.model, voucher.input_count, voucher.count)


def _credits(microcredits: int) -> str:
    return f"{microcredits / MICROCREDITS_PER_CREDIT:g}"
