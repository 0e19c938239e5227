"""Answers that break off, and what the next request is: its number, its grant, and when it is made."""

from collections.abc import Callable
from typing import NoReturn

import pytest
from gpunode import AsyncInferenceClient
from gpunode._job_requests import JobSigner
from gpunode._probing import OwnJob, Prober
from gpunode.errors import AnswerInterrupted, ClientError, InsufficientCredits, TrackerUnreachable
from gpunode.streaming import AsyncChatStream
from gpunode.types import Chunk
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import JOB_PROTOCOL
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.regions import Region

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryStream
from tests.sdk.world import HELLO, World


def _error(code: ErrorCode, retry_after_s: float | None = None) -> JobError:
    return job_error(code, "said the node", retry_after_s=retry_after_s)


async def _read(stream: AsyncChatStream, at_chunk: Callable[[Chunk], object]) -> list[int]:
    """Return the ids of an answer to its end."""
    ids: list[int] = []
    async for chunk in stream:
        ids += chunk.ids
        at_chunk(chunk)
    return ids


@virtual_time
async def test_a_grant_that_ends_in_the_middle(world: World) -> None:
    """What came under the old one is vouched for and shown; the same node goes on under another."""
    node = world.add_node(cut_after=2, cut_with=_error(ErrorCode.GRANT_EXPIRED))
    async with world.client() as client:
        stream = await client.chat(messages=HELLO, stream=True)
        assert await _read(stream, lambda _: setattr(node, "cut_after", None)) == [0, 1, 2, 3]
    route = stream.result.route
    assert [(part.node, part.output_units) for part in route.segments] == [(node.peer_id, 2)] * 2
    assert route.failed == ()
    (closing,) = world.tracker.settled
    voucher, final = open_voucher(closing.voucher), stream.result.receipt.voucher.body
    assert (final.start, final.count, final.previous) == (2, 2, voucher.digest)
    assert final.jti != voucher.body.jti


@virtual_time
async def test_a_grant_that_ends_after_the_last_token(world: World) -> None:
    """Only the node's last word is missing, and a new grant does not bring it."""
    node = world.add_node(cut_after=2, cut_with=_error(ErrorCode.GRANT_EXPIRED))
    async with world.client() as client:
        with pytest.raises(AnswerInterrupted, match="All tokens came") as caught:
            await client.chat(messages=HELLO, max_tokens=2)
    assert caught.value.text == "Paris is"
    assert [(part.node, part.output_units) for part in caught.value.route.segments] == [(node.peer_id, 2)]


@virtual_time
async def test_an_answer_is_not_lost_because_no_grant_is_to_be_had(world: World) -> None:
    """Another node may take the one that there is."""
    world.add_node(cut_after=2, cut_with=_error(ErrorCode.GRANT_EXPIRED))
    world.add_node(region=Region.EUROPE).queued = 4
    async with world.client() as client:
        stream = await client.chat(messages=HELLO, stream=True)
        await _read(stream, lambda _: setattr(world.tracker, "grant", _no_credits))
    assert stream.result.response == "Paris is the capital."


async def _no_credits(_request: object) -> NoReturn:
    raise InsufficientCredits("empty")


@virtual_time
async def test_busy_nodes_are_not_asked_again_and_again(world: World) -> None:
    """Each has said when it wants to be asked, and the answer is told of as interrupted in the end."""
    world.add_node(cut_after=2)
    busy = [world.add_node(region=Region.EUROPE, refuse=[_error(ErrorCode.BUSY, 6.0)] * 99) for _ in range(4)]
    for node in busy:
        node.queued = 4
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        stream = await client.chat(messages=HELLO, stream=True)
        with pytest.raises(AnswerInterrupted, match="after 2 tokens") as caught:
            await _read(stream, lambda _: world.remove_node(world.nodes[0].peer_id))
    assert "said the node (busy)" in {attempt.reason for attempt in caught.value.route.failed}
    assert {len(node.requests) for node in busy} == {3}


@virtual_time
async def test_a_job_that_is_cut_too_often_is_interrupted(world: World) -> None:
    """There are numbers for 64 requests a job; the caller gets what came, and why it is not more."""
    node = world.add_node(words=[f" {number}" for number in range(99)], cut_after=1)
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        stream = await client.chat(messages=HELLO, stream=True)
        with pytest.raises(AnswerInterrupted, match="as often as a job may be") as caught:
            await _read(stream, lambda chunk: setattr(node, "cut_after", chunk.ids[-1] + 2))
    assert (len(node.requests), caught.value.ids) == (64, tuple(range(64)))


async def test_a_request_that_cannot_be_made_leaves_no_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a job that counts as being at the node."""
    world.add_node()
    aborted: list[MemoryStream] = []
    over: list[OwnJob] = []

    def abort(stream: MemoryStream) -> None:
        aborted.append(stream)

    monkeypatch.setattr(JobSigner, "sign", lambda *_: (_ for _ in ()).throw(ValueError("cannot be signed")))
    monkeypatch.setattr(MemoryStream, "abort", abort)
    monkeypatch.setattr(Prober, "job_over", lambda _, job: over.append(job))
    async with world.client() as client:
        with pytest.raises(ValueError, match="cannot be signed"):
            await client.chat(messages=HELLO)
        assert len(over) == 1
        assert world.mesh.opened[world.nodes[0].peer_id, JOB_PROTOCOL] == 1
        assert len(aborted) == 2, "the probe's, and the job's"


@virtual_time
async def test_a_node_is_not_paid_again_and_again_for_the_same_beginning(world: World) -> None:
    """An answer that cannot be resumed is begun anew: who breaks off twice at one place is left, and 15 s are 15 s."""
    node = world.add_node(words=[f" {number}" for number in range(300)], cut_after=100)
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        stream = await client.chat(messages=HELLO, max_tokens=300, logprobs=0, stream=True)
        with pytest.raises(AnswerInterrupted, match="after 100 tokens"):
            await _read(stream, lambda _: None)
        assert len(node.requests) == 2
        with pytest.raises(AnswerInterrupted, match="after 100 tokens"):
            await client.chat(messages=HELLO, max_tokens=300, logprobs=0)
        assert len(node.requests) == 4


@pytest.mark.parametrize("error", [InsufficientCredits("No credits are left."), TrackerUnreachable("No tracker.")])
@virtual_time
async def test_why_there_is_no_other_grant_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, error: ClientError
) -> None:
    """The node says only that it takes no more under this one."""

    async def refuse(_request: object) -> NoReturn:
        raise error

    world.add_node(cut_after=2, cut_with=_error(ErrorCode.GRANT_EXHAUSTED))
    async with world.client() as client:
        stream = await client.chat(messages=HELLO, stream=True)
        with pytest.raises(AnswerInterrupted, match=str(error)) as caught:
            await _read(stream, lambda _: monkeypatch.setattr(world.tracker, "grant", refuse))
    assert caught.value.text == "Paris is"
