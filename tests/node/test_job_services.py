"""What every job uses."""

import pytest
from gpunode_node.job_services import NetworkView
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.prices import DEFAULT_PRICES, PriceTable
from gpunode_protocol.tasks import Task

from tests.node.world import TRUST


def test_costs() -> None:
    """The network's prices decide; a task without one cannot be served."""
    view = NetworkView(trust=TRUST, revocations=None, prices=DEFAULT_PRICES)
    assert view.cost_microcredits(Task.LLM, "m", input_units=2, output_units=3) == 110
    free = NetworkView(trust=TRUST, revocations=None, prices=PriceTable(version=1, tasks={}))
    with pytest.raises(JobError) as caught:
        free.cost_microcredits(Task.LLM, "m", input_units=1, output_units=1)
    assert caught.value.code is ErrorCode.UNKNOWN_MODEL
