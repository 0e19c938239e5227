"""A node with one slot and one place in its queue, on the real engine."""

from collections.abc import Iterator

import pytest
from gpunode_protocol.messages import AcceptedFrame, QueuedFrame

from tests.acceptance.network import Network
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import RawPeer

pytestmark = pytest.mark.acceptance

LONG = {"max_tokens": 1_000, "messages": ({"role": "user", "content": "Tell me a long story about a fox."},)}


@pytest.fixture(scope="module")
def narrow(network: Network) -> Iterator[Daemon]:
    """Start such a node for this file's tests."""
    node = network.add_node("oceania", "--slots", "1", "--queue-limit", "1", name="narrow")
    node.wait_ready()
    yield node
    node.stop()


def test_one_runs_one_waits_one_is_refused(narrow: Daemon, raw: RawPeer) -> None:
    """The second job is told its place and waiting time, the third when to come again; the second then runs."""
    granted = raw.grant()
    first, second = (
        raw.work(narrow, raw.request(narrow, granted.grant, **changes), granted.jti)
        for changes in ({"params": LONG}, {})
    )
    first.read_until(lambda job: job.output.count > 0)
    second.read_until(lambda job: job.accepted is not None)
    accepted = second.job.accepted
    assert accepted is not None
    assert accepted.position == 1
    assert accepted.eta_s > 0
    refused = raw.ask(narrow, raw.request(narrow, granted.grant)).error()
    assert (refused.code, refused.retryable) == ("busy", True)
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 0
    first.job.cancel()
    assert first.finish().finish_reason == "cancelled"
    assert second.finish().usage.output_tokens > 0
    moves = [event for event in second.events if isinstance(event, AcceptedFrame | QueuedFrame)]
    assert [move.position for move in moves] == [1, 0]
