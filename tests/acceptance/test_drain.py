"""Nodes that are asked to stop."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode import InferenceClient, NoNodeFound
from gpunode_protocol.messages import AcceptedFrame

from tests.acceptance.network import Network, status_of, wait_settled
from tests.acceptance.processes import Daemon, wait_gone, wait_until
from tests.acceptance.raw_peer import RawPeer

pytestmark = pytest.mark.acceptance

STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]
LONG = {"messages": ({"role": "user", "content": "Tell me a long story about a fox."},), "max_tokens": 3_000}
REGION = "oceania"


@pytest.fixture
def node(network: Network) -> Iterator[Daemon]:
    """Return one more node, the only one in its region."""
    extra = network.add_node(REGION)
    try:
        extra.wait_ready()
        yield extra
    finally:
        extra.stop()


def test_sigterm_drains(node: Daemon, client: InferenceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running job is finished and paid, nobody finds the node any more, it exits with 0 and leaves no process."""
    family = node.family()
    wait_until(lambda: client.nodes(region=REGION), "the node is found")
    with client.chat(messages=STORY, region=REGION, max_tokens=150, temperature=0, stream=True) as chunks:
        next(chunks)
        node.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status_of(node)["draining"], "the node drains")
        wait_until(lambda: not client.nodes(region=REGION), "nobody finds the node")
        monkeypatch.setattr("gpunode._searches.FURTHER_SEARCHES", 1)  # that more find nobody either takes seconds
        with pytest.raises(NoNodeFound):
            client.chat(messages=STORY, region=REGION, max_tokens=1)
        list(chunks)
        assert chunks.result.usage.completion_tokens == 150
    assert node.process.wait(30) == 0
    wait_gone(family)
    assert len(wait_settled(client, chunks.result.job)) == 1
    assert not (node.data_dir / "run.json").exists()


@pytest.mark.full
def test_a_draining_node_refuses_new_jobs(node: Daemon, raw: RawPeer) -> None:
    """Whoever comes all the same is told so; and a second signal ends the node at once, with its children."""
    family = node.family()
    busy = raw.ask(node, raw.request(node, raw.grant().grant, params=LONG))
    assert isinstance(busy.next(), AcceptedFrame)
    node.process.send_signal(signal.SIGTERM)
    wait_until(lambda: status_of(node)["draining"], "the node drains")
    assert raw.ask(node, raw.request(node, raw.grant().grant)).error().code == "draining"
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(10) != 0
    wait_gone(family)


def test_the_folder_of_a_node_is_private(network: Network) -> None:
    """Key and tokens are for their owner only."""
    folder: Path = network.nodes["asia"].data_dir
    modes = {name: oct((folder / name).stat().st_mode & 0o777) for name in ("identity.key", "worker.json")}
    assert modes == {"identity.key": "0o600", "worker.json": "0o600"}
