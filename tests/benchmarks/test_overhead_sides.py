import pytest
from gpunode_benchmarks.overhead_engines import MODEL
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_benchmarks.overhead_sides import Side, Sides


@pytest.mark.parametrize("side", list(Side))
async def test_both_sides_give_every_prompt_its_tokens(overhead: OverheadNetwork, side: Side) -> None:
    """A side that gave fewer tokens would look faster, so a job that ends early is an error on either."""
    async with overhead.client(MODEL, side) as client, overhead.direct_line() as calls:
        outcome = await Sides(client, calls, MODEL).run(side, ["Count from 1.", "Count from 2."], 3)
    assert len(outcome.ttft_s) == 2
    assert 0 < max(outcome.ttft_s) <= outcome.elapsed_s
