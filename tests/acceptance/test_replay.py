"""The same request again: the same peer gets the same result, nobody gets it computed twice."""

import time

import pytest
from gpunode import InferenceClient
from gpunode_protocol.client_job import Completed
from gpunode_protocol.messages import DoneFrame

from tests.acceptance.network import Network, is_idle, settlements, wait_settled
from tests.acceptance.processes import wait_until
from tests.acceptance.raw_peer import HonestJob, RawPeer

pytestmark = pytest.mark.acceptance

NODE = "america"
LONG = {"messages": ({"role": "user", "content": "Tell me a long story about a fox."},), "max_tokens": 100}


def test_a_finished_job_is_shown_again(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """The same bytes get the same frames, receipt included, and one settlement."""
    node, granted = network.nodes[NODE], raw.grant()
    request = raw.request(node, granted.grant)
    work = raw.work(node, request, granted.jti)
    work.finish()
    frames = raw.ask(node, request).to_the_end()
    assert isinstance(frames[-1], DoneFrame)
    again = raw.ask(node, request)
    assert again.to_the_end() == frames
    assert frames[-1].receipt == work.events[-1].receipt.envelope  # type: ignore[union-attr]  # -- finish() checked it
    wait_until(lambda: is_idle(node), "everything was handed in")
    assert len(wait_settled(client, request.body.job)) == 1


def test_a_running_job_is_taken_up_again(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """A client whose stream was cut sends the same bytes, sees everything from the start, and pays once."""
    node, granted = network.nodes[NODE], raw.grant()
    request = raw.request(node, granted.grant, params=LONG)
    cut = raw.work(node, request, granted.jti)
    cut.read_until(lambda job: job.output.count >= 10)
    cut.stream.close()
    resumed = HonestJob(raw.open(node), cut.job.reattached(time.monotonic()))
    done = resumed.finish()
    assert isinstance(done, Completed)
    assert done.usage.output_tokens == resumed.job.output.count == 100
    assert len(wait_settled(client, request.body.job)) == 1


def test_other_content_under_the_same_name(network: Network, raw: RawPeer) -> None:
    """A job id and segment stand for one request."""
    node, granted = network.nodes[NODE], raw.grant()
    first = raw.request(node, granted.grant)
    raw.work(node, first, granted.jti).finish()
    second = raw.request(node, granted.grant, job=first.body.job)
    answer = raw.ask(node, second).error()
    assert answer.code == "replayed"
    assert "other content" in answer.message


def test_the_same_request_at_another_node(network: Network, raw: RawPeer) -> None:
    """A request names its node."""
    granted = raw.grant()
    request = raw.request(network.nodes[NODE], granted.grant)
    raw.work(network.nodes[NODE], request, granted.jti).finish()
    assert raw.ask(network.nodes["europe"], request).error().code == "wrong_node"


def test_the_same_request_after_a_restart(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """The result is gone with the process, the memory that it was done is not."""
    node, granted = network.nodes[NODE], raw.grant()
    request = raw.request(node, granted.grant)
    raw.work(node, request, granted.jti).finish()
    assert node.terminate() == 0
    network.revive(node)
    answer = raw.ask(node, request).error()
    assert answer.code == "replayed"
    assert "not computed twice" in answer.message
    assert len(settlements(client, job=request.body.job)) == 1
