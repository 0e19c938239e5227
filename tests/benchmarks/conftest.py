"""What the benches' tests share."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode.demo.children import Children
from gpunode.demo.network import start_tracker
from gpunode_benchmarks.failover_network import FailoverNetwork, failover_network
from gpunode_benchmarks.light_nodes import LightNodes
from gpunode_benchmarks.overhead_engines import MODEL, paced_model
from gpunode_benchmarks.overhead_network import OverheadNetwork, overhead_network
from gpunode_benchmarks.overhead_paced import MODEL as PACED_MODEL
from gpunode_node.tracker_client import TrackerClient


@pytest.fixture(scope="session")
def overhead(smollm2_path: Path) -> Iterator[OverheadNetwork]:  # noqa: ARG001 -- skips where there is no model
    """A tracker and a node on loopback that serves the real model and paced ones; 33 ms a token are 30 tokens/s."""
    with overhead_network((MODEL, PACED_MODEL, paced_model(33))) as network:
        yield network


@pytest.fixture(scope="session")
def failover(smollm2_path: Path) -> Iterator[FailoverNetwork]:  # noqa: ARG001 -- skips where there is no model
    """Two nodes of the real model, each of which can be killed; a test starts those again that another one killed."""
    with failover_network(2) as network:
        yield network


@dataclass(frozen=True)
class LightNetwork:
    """A tracker with light nodes. folder: short, for the files of clients."""

    url: str
    nodes: LightNodes
    folder: Path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def light_network() -> AsyncIterator[LightNetwork]:
    """Two light nodes of a real tracker, on the session's event loop."""
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name, Children(Path(name)) as children:
        folder = Path(name)
        url = start_tracker(folder / "t", children)
        async with AsyncExitStack() as stack:
            tracker = TrackerClient(url)
            stack.push_async_callback(tracker.close)
            nodes = LightNodes(stack, folder, tracker, await tracker.network())
            await nodes.grow(2)
            yield LightNetwork(url, nodes, folder)
