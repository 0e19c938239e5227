"""A node whose own process takes nearly as much memory as it may, and one that takes more."""

from collections.abc import Iterator

import psutil
import pytest
from gpunode import InferenceClient, NoNodeFound

from tests.acceptance.network import Network, is_idle, status_of
from tests.acceptance.processes import STOP_DEADLINE_S, Daemon
from tests.acceptance.raw_peer import RawPeer

pytestmark = pytest.mark.acceptance

REGION = "africa"
LEAST_LIMIT_BYTES = 64 * 1024**2
"""The smallest one that a node takes; with Python, p2p libraries and a model's header it needs more."""


@pytest.fixture
def node(network: Network) -> Iterator[Daemon]:
    """Run one more node."""
    extra = network.add_node(REGION, name="memory")
    extra.wait_ready()
    yield extra
    extra.stop()


def _restart(node: Daemon, *, share: float) -> None:
    """Start it again with a limit of which it takes this share."""
    resident = psutil.Process(node.process.pid).memory_info().rss
    node.terminate()
    node.variables["GPUNODE_MEMORY_MAX_BYTES"] = str(int(resident / share))
    node.start()


@pytest.mark.full
def test_near_the_limit(node: Daemon, raw: RawPeer, client: InferenceClient) -> None:
    """New jobs are refused as busy, owner and client are told why, and it ends in order when asked to."""
    _restart(node, share=0.87)
    node.wait_ready()
    granted = raw.grant()
    refused = raw.ask(node, raw.request(node, granted.grant)).error()
    assert (refused.code, refused.retryable) == ("busy", True)
    assert "MiB of memory" in refused.message
    assert any("MiB of memory" in problem for problem in status_of(node)["problems"])
    assert is_idle(node)
    hello = [{"role": "user", "content": "Hello"}]
    with pytest.raises(NoNodeFound, match="MiB of memory"):
        client.chat(messages=hello, region=REGION, max_tokens=1)
    assert node.terminate() == 0


@pytest.mark.full
def test_beyond_the_limit(node: Daemon) -> None:
    """It drains, and ends with one line that says why and what to do."""
    _restart(node, share=1.2)
    _ended_for_its_memory(node)
    assert "drained" in node.log()


def test_with_less_than_it_needs_at_all(network: Network) -> None:
    """It does not go on, whatever it was set to do: it ends by itself, and says so in its last line."""
    variables = {"GPUNODE_MEMORY_MAX_BYTES": str(LEAST_LIMIT_BYTES)}
    node = network.add_node(REGION, name="starved", variables=variables)
    try:
        _ended_for_its_memory(node)
    finally:
        node.stop()


def _ended_for_its_memory(node: Daemon) -> None:
    assert node.process.wait(STOP_DEADLINE_S) == 1
    log = node.log()
    assert "MiB of memory" in log.splitlines()[-1]
    assert "GPUNODE_MEMORY_MAX_BYTES" in log.splitlines()[-1]
    assert "Traceback" not in log
