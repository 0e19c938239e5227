"""What every job uses."""

import pytest
from gpunode_node.job_services import NetworkView
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.prices import DEFAULT_PRICES, Price, PriceTable
from gpunode_protocol.tasks import Task

from tests.node.world import TRUST


def test_costs() -> None:
    """The network's prices decide; a task without one cannot be served."""
    view = NetworkView(trust=TRUST, revocations=None, prices=DEFAULT_PRICES)
    assert view.cost_microcredits(Task.LLM, "m", price_version=1, input_units=2, output_units=3) == 110
    free = NetworkView(trust=TRUST, revocations=None, prices=PriceTable(version=1, tasks={}))
    with pytest.raises(JobError) as caught:
        free.cost_microcredits(Task.LLM, "m", price_version=1, input_units=1, output_units=1)
    assert caught.value.code is ErrorCode.UNKNOWN_MODEL


def test_prices_that_change() -> None:
    """A grant is counted by those that it names; by the highest where nobody knows them."""
    view = NetworkView(trust=TRUST, revocations=None, prices=_prices(1, 30))
    view = view.repriced(_prices(1, 30)).repriced(_prices(2, 300)).repriced(_prices(3, 3))
    costs = [
        view.cost_microcredits(Task.LLM, "m", price_version=version, input_units=0, output_units=1)
        for version in (1, 2, 3, 4)
    ]
    assert costs == [30, 300, 3, 300]


def test_prices_of_long_ago() -> None:
    """They are forgotten: no grant that names them lives any more."""
    view = NetworkView(trust=TRUST, revocations=None, prices=_prices(0, 1_000))
    for version in range(1, 100):
        view = view.repriced(_prices(version, 1))
    assert view.cost_microcredits(Task.LLM, "m", price_version=0, input_units=0, output_units=1) == 1


def _prices(version: int, output_microcredits: int) -> PriceTable:
    price = Price(input_microcredits=0, output_microcredits=output_microcredits)
    return PriceTable(version=version, tasks={Task.LLM: price})
