"""Who pays for what: vouchers that come, that do not come, that come again, and that contradict each other."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gpunode import InferenceClient
from gpunode_protocol.messages import ErrorFrame, TokensFrame, VoucherFrame, encode_frame
from gpunode_protocol.signing import Envelope, sign
from gpunode_protocol.tracker_api import SETTLEMENTS_PATH, SettlementBatch, SettlementItem
from gpunode_protocol.vouchers import UNVOUCHED_LIMIT_TOKENS

from tests.acceptance.network import Network, is_idle, settlements, status_of, wait_settled
from tests.acceptance.processes import wait_until
from tests.acceptance.raw_peer import HonestJob, RawPeer, RawStream

pytestmark = pytest.mark.acceptance

NODE = "europe"
LONG = {"messages": ({"role": "user", "content": "Tell me a long story about a fox."},), "max_tokens": 600}
LONG_WAIT_S = 40.0


@dataclass
class Misers:
    """Clients that were started together, because a node waits long for each. silent: sends nothing at all.

    never: takes tokens and vouches for none. leaver: vouched for what it took, then left.
    """

    silent: RawStream
    never: RawStream
    never_job: str
    leaver: HonestJob


@pytest.fixture(scope="module")
def misers(network: Network, raw_peer: RawPeer) -> Iterator[Misers]:
    """Start all of them at one node."""
    node = network.nodes[NODE]
    silent = raw_peer.send(node, b"\x00")
    request = raw_peer.request(node, raw_peer.grant().grant, params=LONG)
    never = raw_peer.ask(node, request)
    granted = raw_peer.grant()
    leaver = raw_peer.work(node, raw_peer.request(node, granted.grant, params=LONG), granted.jti)
    leaver.read_until(lambda job: job.output.count > UNVOUCHED_LIMIT_TOKENS + 20)  # so a voucher has reached the node
    leaver.stream.close()
    yield Misers(silent, never, request.body.job, leaver)
    raw_peer.close_streams()


@pytest.mark.full
def test_a_client_that_never_vouches(misers: Misers, client: InferenceClient) -> None:
    """The node stops at 128 tokens, waits, and ends the job: that much is its loss, and nothing is paid."""
    frames = misers.never.to_the_end()
    received = sum(len(frame.ids) for frame in frames if isinstance(frame, TokensFrame))
    assert received == UNVOUCHED_LIMIT_TOKENS
    assert isinstance(frames[-1], ErrorFrame)
    assert frames[-1].code == "voucher_overdue"
    assert not settlements(client, job=misers.never_job)


@pytest.mark.full
def test_a_client_that_says_nothing(misers: Misers) -> None:
    """A stream without a request is closed after ten seconds."""
    assert misers.silent.error().code == "first_frame_timeout"


@pytest.mark.full
def test_a_client_that_leaves(network: Network, misers: Misers, client: InferenceClient) -> None:
    """The engine stops, and the last voucher is paid: no more than was received, less by one window at most."""
    node = network.nodes[NODE]
    wait_until(lambda: status_of(node)["models"][0]["active"] == 0, "the engine has stopped", LONG_WAIT_S)
    settled = wait_settled(client, misers.leaver.job.request.body.job, LONG_WAIT_S)[0].settled
    received = misers.leaver.job.output.count
    assert settled is not None
    assert received - UNVOUCHED_LIMIT_TOKENS <= settled.count <= received < LONG["max_tokens"]
    assert settled.input_count == 0  # input is charged by a job's proper end only


def _post(network: Network, *items: SettlementItem) -> list[str]:
    """Submit items; return the tracker's answers."""
    status, reply = network.call("POST", SETTLEMENTS_PATH, SettlementBatch(items=items))
    assert status == 200, reply
    return [result["status"] for result in reply["results"]]


def test_the_same_voucher_five_times(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """One settlement, and four times the same answer."""
    node = network.nodes[NODE]
    done = raw.complete(node)
    wait_settled(client, done.receipt.body.job)
    item = SettlementItem(voucher=done.voucher.envelope, receipt=done.receipt.envelope)
    assert _post(network, item) + _post(network, *[item] * 4) == ["duplicate"] * 5
    assert len(settlements(client, job=done.receipt.body.job)) == 1


def test_a_voucher_that_nobody_submitted_yet(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """Either side may hand it in, the node's own copy then is a duplicate: one settlement."""
    node, granted = network.nodes[NODE], raw.grant()
    work = raw.work(node, raw.request(node, granted.grant, params=LONG), granted.jti)
    work.read_until(lambda job: job.last_voucher is not None)
    work.job.cancel()
    assert work.job.last_voucher is not None
    item = SettlementItem(voucher=work.job.last_voucher.envelope)
    assert _post(network, *[item] * 5) == ["settled", *["duplicate"] * 4]
    done = work.finish()
    wait_until(lambda: is_idle(node), "the node has handed in the final voucher")
    entries = settlements(client, job=done.receipt.body.job)
    paid = sum(transfer.microcredits for entry in entries for transfer in entry.transfers if transfer.microcredits > 0)
    usage = done.receipt.body.usage
    due = raw.info.prices.cost_microcredits("llm", "", input_units=usage.input_tokens, output_units=usage.output_tokens)
    assert paid == due


def test_a_differing_voucher(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """It is equivocation: kept as evidence, and the settlement stands."""
    done = raw.complete(network.nodes[NODE])
    settled = wait_settled(client, done.receipt.body.job)
    other = sign(raw.identity, done.voucher.body.model_copy(update={"digest": bytes(32)}))
    assert _post(network, SettlementItem(voucher=other.envelope)) == ["equivocation"]
    assert settlements(client, job=done.receipt.body.job) == settled
    with sqlite3.connect(f"file:{network.tracker.data_dir / 'tracker.db'}?mode=ro", uri=True) as database:
        kept = database.execute("SELECT voucher_body FROM evidence").fetchall()
    database.close()
    assert (other.envelope.body,) in kept


def test_a_forged_voucher(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """Nobody is paid on a signature that does not verify."""
    done = raw.complete(network.nodes[NODE])
    settled = wait_settled(client, done.receipt.body.job)
    forged = Envelope(body=done.voucher.envelope.body, signature=bytes(64))
    assert _post(network, SettlementItem(voucher=forged)) == ["rejected"]
    assert settlements(client, job=done.receipt.body.job) == settled


def test_a_voucher_for_more_than_was_sent(network: Network, raw: RawPeer) -> None:
    """The node takes vouchers for its own output only."""
    node, granted = network.nodes[NODE], raw.grant()
    work = raw.work(node, raw.request(node, granted.grant, params=LONG), granted.jti)
    work.read_until(lambda job: job.last_voucher is not None)
    assert work.job.last_voucher is not None
    lie = sign(raw.identity, work.job.last_voucher.body.model_copy(update={"count": 500}))
    work.stream.send(encode_frame(VoucherFrame(voucher=lie.envelope)))
    assert work.stream.error().code == "bad_voucher"
