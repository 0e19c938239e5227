"""What is held against nodes, and what they are believed, in whole jobs."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest
from gpunode import AsyncInferenceClient, Limits
from gpunode._breakers import LONGEST_PAUSE_S
from gpunode._job_requests import Job
from gpunode._measurements import Measurements
from gpunode._selection import Choice
from gpunode.errors import AnswerInterrupted, NoNodeFound, RequestRefused
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.identity import Identity
from gpunode_protocol.patience import Patience
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.node.virtual_time import virtual_time
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import HELLO, MODEL, World

REFUSED = job_error(ErrorCode.INVALID_PARAMETERS, "said the node")
TOO_LONG = job_error(ErrorCode.CONTEXT_OVERFLOW, "too long")


@pytest.fixture
def blamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the nodes against which a failure is held, as it grows."""
    nodes: list[str] = []
    monkeypatch.setattr(Measurements, "job_failed", lambda _self, node, _model: nodes.append(node))
    return nodes


def _pair(world: World, **script: Any) -> tuple[ScriptedNode, ScriptedNode]:
    """Add a node that is asked first and does as it is told, and one that does well."""
    shared = {name: script[name] for name in ("task", "vectors", "pictures") if name in script}
    first, second = world.add_node(**script), world.add_node(region=Region.EUROPE, **shared)
    second.queued = 4
    return first, second


async def test_a_fault_of_the_request_is_believed_of_two(world: World, blamed: list[str]) -> None:
    """The third node is not bothered, and nothing is held against the two."""
    for number in range(3):
        world.add_node(refuse=[REFUSED]).queued = 4 * number
    async with world.client() as client:
        with pytest.raises(RequestRefused, match="said the node") as caught:
            await client.chat(messages=HELLO)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert [len(node.requests) for node in world.nodes] == [1, 1, 0]
    assert blamed == []


async def test_a_node_that_finds_fault_with_good_requests_costs_one_attempt(world: World, blamed: list[str]) -> None:
    """Another node does the job; from then on the first is asked last."""
    liar, good = _pair(world, refuse=[REFUSED] * 5)
    async with world.client() as client:
        for _ in range(2):
            assert (await client.chat(messages=HELLO)).response == "Paris is the capital."
    assert (len(liar.requests), len(good.requests)) == (1, 2)
    assert blamed == [liar.peer_id]


async def test_what_a_node_cannot_do_another_may(world: World, blamed: list[str]) -> None:
    """Its engine lacks something, as it says itself: not its fault, nor the request's."""
    unable, able = _pair(world, refuse=[JobError(ErrorCode.INVALID_PARAMETERS, "no tools", retryable=True)])
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert (answer.route.node, [attempt.node for attempt in answer.route.failed]) == (able.peer_id, [unable.peer_id])
    assert blamed == []


async def test_a_prompt_too_long_is_believed_of_two(world: World, blamed: list[str]) -> None:
    """All nodes have the same context here, so no larger one is asked."""
    for number in range(3):
        world.add_node(refuse=[TOO_LONG]).queued = 4 * number
    async with world.client() as client:
        with pytest.raises(RequestRefused) as caught:
            await client.chat(messages=HELLO)
    assert caught.value.code is ErrorCode.CONTEXT_OVERFLOW
    assert [len(node.requests) for node in world.nodes] == [1, 1, 0]
    assert blamed == []


async def test_a_node_with_too_small_a_context_does_the_next_short_job(world: World, blamed: list[str]) -> None:
    """A job that it could not take is no failure."""
    small, _ = _pair(world, refuse=[TOO_LONG])
    async with world.client() as client:
        await client.chat(messages=HELLO)
        assert (await client.chat(messages=HELLO)).route.node == small.peer_id
    assert blamed == []


@pytest.mark.parametrize("code", [ErrorCode.GRANT_EXHAUSTED, ErrorCode.REPLAY_MEMORY_FULL])
async def test_a_node_that_takes_no_more_of_this_client_has_not_failed(
    world: World, blamed: list[str], code: ErrorCode
) -> None:
    """Another node may."""
    _, other = _pair(world, refuse=[job_error(code, "spent")] * 3)
    async with world.client() as client:
        assert (await client.chat(messages=HELLO)).route.node == other.peer_id
    assert blamed == []


@virtual_time
async def test_the_callers_own_deadline_is_no_nodes_failure(world: World) -> None:
    """It was not asked for more."""
    blamed: list[str] = []
    node = world.add_node(words=["x"] * 999, token_s=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Measurements, "job_failed", lambda _self, node, _model: blamed.append(node))
        async with world.client(job_timeout_s=5) as client:
            with pytest.raises(Exception, match="longer than its time limit"):
                await client.chat(messages=HELLO, max_tokens=999)
    assert (len(node.requests), blamed) == (1, [])


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"quote": 10**6}, "bad_usage"),
        ({"spoils_blobs": True, "task": Task.EMBEDDING, "vectors": bytes(16)}, "bad_digest"),
        ({"words": (), "sign_receipts_as": Identity.from_seed(b"\x77" * 32)}, "bad_receipt"),
    ],
    ids=["a prompt of too many tokens", "vectors under another digest", "a foreign receipt for nothing"],
)
async def test_a_lie_before_the_first_output_costs_one_attempt(
    world: World, blamed: list[str], script: dict[str, Any], kind: str
) -> None:
    """The liar is reported and not asked again, and another node does the job."""
    liar, good = _pair(world, **script)
    async with world.client() as client:
        for _ in range(2):
            asked = client.embed("hi", model=MODEL) if "task" in script else client.chat(messages=HELLO)
            assert (await asked).route.node == good.peer_id
    assert (len(liar.requests), len(good.requests)) == (1, 2)
    assert [(report.node, report.kind) for report in world.tracker.reports] == [(liar.peer_id, kind)]
    assert blamed == [liar.peer_id]
    assert world.tracker.settled == []


@virtual_time
async def test_a_picture_under_another_digest_is_drawn_elsewhere(world: World) -> None:
    """Those before it stay and are paid for."""
    liar, good = _pair(world, task=Task.IMAGE_GEN, pictures=[b"\x89PNG one", b"\x89PNG two"], spoils_blobs=True)
    good.pictures = [b"\x89PNG two"]
    async with world.client() as client:
        result = await client.generate_image("a fox", model=MODEL, n=2, size="512x512", steps=2)
    assert [picture.data for picture in result.images] == [b"\x89PNG one", b"\x89PNG two"]
    assert [report.kind for report in world.tracker.reports] == ["bad_digest"]
    (closing,) = world.tracker.settled
    assert (open_voucher(closing.voucher).body.node, open_voucher(closing.voucher).body.count) == (liar.peer_id, 512)


@virtual_time
async def test_a_liar_is_not_asked_to_go_on(world: World) -> None:
    """Not even where nobody else is there."""
    liar, _ = _pair(world, quote=10**6)
    world.nodes[1].cut_after = 2
    surroundings = world.surroundings(resume_for_s=0.5)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        with pytest.raises(Exception, match="broke off"):
            await client.chat(messages=HELLO)
    assert len(liar.requests) == 1


def _hasty(_choice: Choice, _job: Job) -> Patience:
    return Patience(first_output_s=2.0)


@virtual_time
@pytest.mark.parametrize("lies", [True, False])
async def test_the_loser_of_a_race(world: World, *, lies: bool) -> None:
    """Who lied is reported; who finds fault with the request costs nothing but its part in the race."""
    blamed: list[str] = []
    script = {"quote": 10**6} if lies else {"refuse": [TOO_LONG]}
    loser, slow = _pair(world, hesitates_s=1.5, **script)
    slow.first_token_s = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Measurements, "job_failed", lambda _self, node, _model: blamed.append(node))
        surroundings = world.surroundings(patience=_hasty)
        async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
            answer = await client.chat(messages=HELLO)
            await asyncio.sleep(0)
    assert (answer.route.node, len(answer.route.failed)) == (slow.peer_id, 1)
    assert [report.node for report in world.tracker.reports] == ([loser.peer_id] if lies else [])
    assert blamed == ([loser.peer_id] if lies else [])


@virtual_time
async def test_a_node_that_cannot_go_on_is_asked_once(world: World) -> None:
    """Its prompt or its weights are what they are; it has not failed, and does other jobs."""
    blamed: list[str] = []
    first, unfit = _pair(world, cut_after=2)
    unfit.refuse = [job_error(ErrorCode.RESUME_REFUSED, "not mine")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Measurements, "job_failed", lambda _self, node, _model: blamed.append(node))
        surroundings = world.surroundings(resume_for_s=15.0)
        async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
            with pytest.raises(AnswerInterrupted):
                await client.chat(messages=HELLO)
    assert len(unfit.requests) == 1
    assert set(blamed) == {first.peer_id}


UNABLE = JobError(ErrorCode.INVALID_PARAMETERS, "cannot be held to this schema", retryable=True)


@virtual_time
async def test_a_node_that_cannot_do_what_it_began_is_asked_once(world: World) -> None:
    """Where nobody else is there, the caller learns what it said, and pays for one attempt."""
    node = world.add_node(cut_after=2, cut_with=UNABLE)
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        with pytest.raises(AnswerInterrupted, match="cannot be held to this schema"):
            await client.chat(messages=HELLO, json_schema={"type": "string"})
    assert len(node.requests) == 1


async def test_what_a_node_began_and_cannot_do_another_may(world: World, blamed: list[str]) -> None:
    """The answer is made again there."""
    unable, able = _pair(world, cut_after=2, cut_with=UNABLE)
    able.words = ('"Paris"',)
    async with world.client() as client:
        answer = await client.chat(messages=HELLO, json_schema={"type": "string"})
    assert answer.parsed == "Paris"
    assert [part.node for part in answer.route.segments] == [unable.peer_id, able.peer_id]
    assert blamed == []


@virtual_time
async def test_a_job_that_a_node_does_not_try_again_is_not_sent_there(world: World) -> None:
    """Its engine broke twice at it. The caller learns why, where nobody else is there."""
    node = world.add_node(cut_after=1, cut_with=job_error(ErrorCode.ENGINE_FAILED, "crashed"))
    not_again = JobError(ErrorCode.INVALID_PARAMETERS, "not tried again", retryable=True)
    node.refuse = _Later(node, after=2, errors=[not_again] * 9)
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        with pytest.raises(AnswerInterrupted, match="not tried again"):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 3


class _Later(list[JobError]):
    """Refusals that begin after a number of requests."""

    def __init__(self, node: ScriptedNode, *, after: int, errors: Sequence[JobError]) -> None:
        super().__init__(errors)
        self._node, self._after = node, after

    def __bool__(self) -> bool:
        return len(self._node.requests) > self._after


@virtual_time
async def test_a_liar_is_not_asked_after_an_ordinary_pause(world: World) -> None:
    """Nor by another run, nor where nobody else is left; callers are told why."""
    reason = "sent an answer that does not verify (bad_usage), less than a day ago"
    liar, good = _pair(world, quote=10**6)
    async with world.client() as client:
        await client.chat(messages=HELLO)
        assert (await client.chat(messages=HELLO)).route.node == good.peer_id
        await asyncio.sleep(LONGEST_PAUSE_S + 1)
        assert (await client.chat(messages=HELLO)).route.node == good.peer_id
    async with world.client() as client:
        told = await client.explain(model=MODEL)
        assert ([item.node for item in told.candidates], told.excluded) == ([good.peer_id], {reason: 1})
        assert (await client.chat(messages=HELLO)).route.node == good.peer_id
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match=re.escape(reason)):
            await client.chat(messages=HELLO, limits=Limits(deny_nodes=frozenset({good.peer_id})))
    assert len(liar.requests) == 1


@virtual_time
async def test_a_job_under_way_does_not_go_to_who_lied_to_another(world: World) -> None:
    """It was ranked before the lie, and nobody else is left."""
    world.add_node(words=["x"] * 20, token_s=0.1, cut_after=10)
    liar = world.add_node(quote=10**6)
    liar.queued = 4
    async with world.client() as client:
        under_way = asyncio.create_task(client.chat(messages=HELLO))
        await asyncio.sleep(0.5)
        with pytest.raises(NoNodeFound):
            await client.chat(messages=HELLO, limits=Limits(allow_nodes=frozenset({liar.peer_id})))
        with pytest.raises(AnswerInterrupted):
            await under_way
    assert len(liar.requests) == 1
