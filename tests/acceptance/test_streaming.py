"""Answers that come in pieces, several at once, and ones that their reader gives up."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from gpunode import ChatResult, ClientError, InferenceClient, Limits

from tests.acceptance.network import Network, is_idle, status_of, wait_settled
from tests.acceptance.processes import wait_until
from tests.acceptance.raw_peer import RawPeer

pytestmark = pytest.mark.acceptance

#: one that is being computed, and what a busy machine's sockets hold between engine, node and client
MAX_TOKENS_UNDER_WAY = 16
STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]


def test_pieces_make_the_answer(client: InferenceClient) -> None:
    """Texts and ids of all pieces are the result's, which is there after the last one, and not before."""
    with client.chat(messages=STORY, max_tokens=40, temperature=0, stream=True) as chunks:
        first = next(chunks)
        with pytest.raises(ClientError, match="not come to its end"):
            _ = chunks.result
        pieces = [first, *chunks]
    result = chunks.result
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == result.response
    assert tuple(number for piece in pieces for number in piece.ids) == result.ids
    assert result.usage.completion_tokens == len(result.ids) == 40
    assert (result.finish_reason, result.receipt.verified) == ("length", True)


def test_a_closed_stream_ends_the_job(network: Network, client: InferenceClient) -> None:
    """The node stops within moments; what was received is vouched for and paid, and no more than was made."""
    with client.chat(messages=STORY, max_tokens=1_000, temperature=0, stream=True) as chunks:
        received = [number for _ in range(5) for number in next(chunks).ids]
        run = chunks._stream._state.run
        assert run is not None
        assert run.route is not None
        node = network.node_of(run.route.node)
        assert status_of(node)["jobs_unfinished"] == 1
    wait_until(lambda: is_idle(node), "the node has stopped and handed its voucher in")
    entries = wait_settled(client, run.job.id)
    assert [entry.settled.node for entry in entries if entry.settled] == [node.run["peer_id"]]
    assert entries[0].settled is not None
    assert len(received) <= entries[0].settled.count < 200


def test_a_cancel_ends_within_a_few_tokens(network: Network, raw: RawPeer) -> None:
    """The engine stops at the next token; only what was under way between node and client still comes."""
    node, granted = network.nodes["asia"], raw.grant()
    params = {"max_tokens": 1_000, "messages": tuple(STORY)}
    work = raw.work(node, raw.request(node, granted.grant, params=params), granted.jti)
    work.read_until(lambda job: job.output.count >= 20)
    before = work.job.output.count
    work.job.cancel("enough")
    done = work.finish()
    assert done.finish_reason == "cancelled"
    assert done.usage.output_tokens == work.job.output.count < before + MAX_TOKENS_UNDER_WAY


def test_several_jobs_at_once(client: InferenceClient) -> None:
    """Each gets its own whole answer."""

    def ask(number: int) -> ChatResult:
        question = [{"role": "user", "content": f"Count from {number} to {number + 3}."}]
        return client.chat(messages=question, max_tokens=24, temperature=0)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(ask, range(8)))
    assert len({result.job for result in results}) == 8
    assert all(result.receipt.verified and result.response for result in results)
    assert len({result.route.node for result in results}) > 1  # nobody was asked by all


def test_more_jobs_at_once_than_a_node_takes_of_one_client(network: Network, client: InferenceClient) -> None:
    """They wait for their turn, and for the node itself that is nothing special."""
    limits = Limits(allow_nodes=(network.nodes["asia"].run["peer_id"],))

    def ask(_: int) -> ChatResult:
        return client.chat(messages=STORY, max_tokens=2, temperature=0, limits=limits)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, range(20)))
    assert [(answer.usage.completion_tokens, answer.route.failed) for answer in answers] == [(2, ())] * 20
