from gpunode_benchmarks.tracker.index_nodes import MODEL, list_nodes
from gpunode_protocol.tasks import Task

from tests.benchmarks.tracker.conftest import Served


async def test_nodes_are_in_the_index(served: Served) -> None:
    """With the model that is asked for."""
    await list_nodes(served.url, 2)
    found = served.tracker.index.find(served.tracker.clock(), task=Task.LLM, model=MODEL)
    assert len({advert.body.peer for advert in found}) == 2
