"""Nodes that take a job and then do not do it well: the caller gets a whole answer from others, or is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gpunode import ChatResult, Limits
from gpunode.errors import AnswerInterrupted, NoNodeFound, VerificationFailed
from gpunode.types import RouteSegment
from gpunode_protocol.adverts import Speed
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import LIVENESS_TIMEOUT_S
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.regions import Region

from tests.node.virtual_time import virtual_time
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import HELLO, NO_SPEED, SPEED, World

WORDS = tuple(f" {number}" for number in range(40))
"""An answer whose every token can be told from the others."""
TRICKLE_S = LIVENESS_TIMEOUT_S - 0.1
WINDOW_S = 10.0
"""Over which speed is demanded."""
DRAINS = job_error(ErrorCode.DRAINING, "This node is about to stop.")
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = (
    "Let",
    " me",
    ' see.\x1e[{"id": "1", "type": "function",',
    ' "function": {"name": "weather",',
    ' "arguments": "{}"}}]',
)


def _pair(world: World, **script: Any) -> tuple[ScriptedNode, ScriptedNode]:
    """Add a node that is asked first and does as it is told, and one that does well."""
    faulty = world.add_node(**{"words": WORDS} | script)
    reason = script.get("finish_reason", "stop")
    good = world.add_node(region=Region.EUROPE, words=script.get("words", WORDS), finish_reason=reason)
    good.queued = 4
    return faulty, good


@dataclass
class Asked:
    """What came of a job. seen: the tokens as the caller saw them. took_s: until the last of them, seconds."""

    answer: ChatResult
    seen: list[int]
    took_s: float

    @property
    def first(self) -> RouteSegment:
        """What the first node gave."""
        return self.answer.route.segments[0]


async def _ask(world: World, at_token: Callable[[int], None] = lambda _: None) -> Asked:
    """Ask for an answer; ``at_token`` is told how many tokens there are."""
    seen: list[int] = []
    clock = asyncio.get_running_loop().time
    async with world.client() as client:
        began_at = clock()
        stream = await client.chat(messages=HELLO, stream=True)
        async for chunk in stream:
            seen.extend(chunk.ids)
            at_token(len(seen))
        return Asked(stream.result, seen, clock() - began_at)


def _check_parts(world: World, asked: Asked, *nodes: ScriptedNode) -> None:
    """See that nothing is lost or said twice, and that each node is named, and paid for what it gave and no more."""
    answer = asked.answer
    assert asked.seen == list(answer.ids) == list(range(len(WORDS)))
    assert answer.response == "".join(WORDS)
    parts = answer.route.segments
    assert [part.node for part in parts] == [node.peer_id for node in nodes]
    assert parts[-1].ended == "done"
    vouchers = [open_voucher(item.voucher).body for item in world.tracker.settled]
    vouchers.append(answer.receipt.voucher.body)
    starts = [sum(part.output_units for part in parts[:number]) for number in range(len(parts))]
    paid = [(voucher.node, voucher.start, voucher.count) for voucher in vouchers]
    assert paid == [(part.node, start, part.output_units) for part, start in zip(parts, starts, strict=True)]


@virtual_time
@pytest.mark.parametrize("speed", [SPEED, NO_SPEED], ids=["of a fast node", "of a node that states no speed"])
async def test_a_node_that_trickles_is_left(world: World, speed: Any) -> None:
    """Each token comes before the silence is too long, and all of them far too late."""
    trickling, good = _pair(world, token_s=TRICKLE_S, speed=speed)
    if speed is NO_SPEED:
        world.remove_probe(good.peer_id)  # who states no speed is asked after all others
    asked = await _ask(world)
    _check_parts(world, asked, trickling, good)
    assert (asked.first.output_units, "far slower" in asked.first.ended) == (3, True)
    assert asked.took_s == pytest.approx(WINDOW_S)


@virtual_time
async def test_a_node_that_accepts_and_says_nothing_is_left(world: World) -> None:
    """It has the time for a first token, in the middle of which another node is asked and does the job."""
    mute, good = _pair(world, mute_after=0)
    asked = await _ask(world)
    _check_parts(world, asked, good)
    assert [attempt.node for attempt in asked.answer.route.failed] == [mute.peer_id]
    assert asked.took_s < LIVENESS_TIMEOUT_S
    assert mute.jobs[0].vouched_count == 0


@virtual_time
@pytest.mark.parametrize("pings", [False, True], ids=["silent", "pinging"])
async def test_two_nodes_that_accept_and_give_nothing_are_left(world: World, *, pings: bool) -> None:
    """The second, asked when the first took long, has no more time than the first; pings buy none."""
    idle = [_pair(world, mute_after=0, pings=pings)[0]]
    world.nodes[1].mute_after, world.nodes[1].pings = 0, pings
    idle.append(world.nodes[1])
    good = world.add_node(region=Region.EUROPE, words=WORDS)
    world.remove_probe(good.peer_id)
    asked = await _ask(world)
    _check_parts(world, asked, good)
    assert {attempt.node for attempt in asked.answer.route.failed} == {node.peer_id for node in idle}
    assert all("No output came" in attempt.reason for attempt in asked.answer.route.failed)


@virtual_time
@pytest.mark.parametrize("pings", [False, True], ids=["silent", "pinging"])
async def test_a_node_that_stops_in_the_middle_is_left(world: World, *, pings: bool) -> None:
    """After 5 s of silence; pings keep the connection until the speed of 10 s is looked at."""
    mute, good = _pair(world, mute_after=5, pings=pings)
    asked = await _ask(world)
    _check_parts(world, asked, mute, good)
    assert asked.first.output_units == 5
    assert ("far slower" if pings else "silent for 5 s") in asked.first.ended
    assert asked.took_s == pytest.approx(WINDOW_S if pings else LIVENESS_TIMEOUT_S)


async def test_a_node_that_drains_hands_over(world: World) -> None:
    """It said before that it is about to stop, and then that it stops now: no failure, and another node goes on."""
    leaving, good = _pair(world, drains_after=3, cut_after=6, cut_with=DRAINS)
    asked = await _ask(world)
    _check_parts(world, asked, leaving, good)
    assert (asked.first.output_units, asked.first.ended) == (6, str(DRAINS))


async def test_a_node_that_stops_without_notice_hands_over(world: World) -> None:
    """The error alone is enough."""
    leaving, good = _pair(world, cut_after=6, cut_with=DRAINS)
    asked = await _ask(world)
    _check_parts(world, asked, leaving, good)
    assert asked.first.output_units == 6


async def test_a_node_that_drains_may_finish(world: World) -> None:
    """What it has begun is its own until the deadline that it named: nobody else is asked."""
    leaving, good = _pair(world, drains_after=3)
    asked = await _ask(world)
    _check_parts(world, asked, leaving)
    assert good.requests == []


@virtual_time
async def test_a_node_that_said_it_is_free_and_lets_the_job_wait(world: World) -> None:
    """It may hold a job in its queue for minutes: a second one that is free is asked as if this one were slow."""
    liar = world.add_node(position=1, mute_after=0, pings=True)
    free = world.add_node(speed=Speed(input_milliunits_per_s=100_000, output_milliunits_per_s=10_000))
    async with world.client() as client:
        began_at = asyncio.get_running_loop().time()
        answer = await client.chat(messages=HELLO)
        took_s = asyncio.get_running_loop().time() - began_at
    assert (answer.route.node, [attempt.node for attempt in answer.route.failed]) == (free.peer_id, [liar.peer_id])
    assert took_s < 30  # virtual


@virtual_time
async def test_a_node_that_becomes_too_slow_hands_over(world: World) -> None:
    """It begins at the speed that it advertises; from then on a fifth of the demand, and never silent for long."""
    tired, good = _pair(world, token_s=0.02)

    def tire(tokens: int) -> None:
        tired.token_s = 0.4 if tokens >= 10 else tired.token_s

    asked = await _ask(world, tire)
    _check_parts(world, asked, tired, good)
    assert "far slower" in asked.first.ended
    assert 10 < asked.first.output_units < len(WORDS)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"misquotes": True}, "bad_digest"),
        ({"overstate": 1}, "bad_usage"),
        ({"sign_receipts_as": Identity.from_seed(b"\x77" * 32)}, "bad_receipt"),
    ],
    ids=["another output", "another usage", "another signature"],
)
async def test_a_node_whose_receipt_does_not_verify_is_not_asked_again(
    world: World, script: dict[str, Any], kind: str
) -> None:
    """It is reported, is paid no more, and not where nobody else is left either: the error says why."""
    liar, good = _pair(world, **script)
    world.remove_probe(good.peer_id)  # so that nothing but the failure puts it first
    async with world.client() as client:
        with pytest.raises(VerificationFailed):
            await client.chat(messages=HELLO)
        answer = await client.chat(messages=HELLO)
        assert (answer.route.node, answer.route.failed) == (good.peer_id, ())
        assert (len(liar.requests), len(good.requests)) == (1, 1)
        with pytest.raises(NoNodeFound, match=rf"does not verify \({kind}\), less than a day ago"):
            await client.chat(messages=HELLO, limits=Limits(deny_nodes=frozenset({good.peer_id})))
    assert (len(liar.requests), len(good.requests)) == (1, 1)
    assert [(report.node, report.kind) for report in world.tracker.reports] == [(liar.peer_id, kind)]
    assert world.tracker.settled == []
    assert not any(job.is_settled for job in liar.jobs)


async def test_garbage_with_valid_signatures_is_not_detected(world: World) -> None:
    """Nor claimed to be: the receipt holds, nobody is blamed, and the document says that it is so."""
    garbler, good = _pair(world)
    garbler.words = ("xyzzy", " \N{REPLACEMENT CHARACTER}", " plugh")
    async with world.client() as client:
        answers = [await client.chat(messages=HELLO) for _ in range(2)]
    assert [(answer.route.node, answer.receipt.verified) for answer in answers] == [(garbler.peer_id, True)] * 2
    assert (world.tracker.reports, good.requests) == ([], [])
    document = Path(__file__).parents[2] / "docs" / "routing.md"
    assert "Not detected: garbage with valid signatures." in document.read_text(encoding="utf-8")


async def _call(world: World) -> tuple[ChatResult, str]:
    """Return an answer with a call, and its text as it was streamed."""
    seen = []
    async with world.client() as client:
        stream = await client.chat(messages=HELLO, tools=TOOLS, stream=True)
        async for chunk in stream:
            seen.append(chunk.text)
        return stream.result, "".join(seen)


@pytest.mark.parametrize("cut_after", [1, 2, 4], ids=["in the text", "before the call", "in the call"])
async def test_a_job_with_tools_begins_anew(world: World, cut_after: int) -> None:
    """At another node, from the first token; the caller sees what it has not seen."""
    first, second = _pair(world, words=CALL, cut_after=cut_after, finish_reason="tool_calls")
    answer, seen = await _call(world)
    assert seen == answer.response == "Let me see."
    assert [call["function"] for call in answer.tool_calls or ()] == [{"name": "weather", "arguments": "{}"}]
    request = second.jobs[0].request.body
    assert (request.resume, request.start) == (None, cut_after)
    assert [(part.node, part.output_units) for part in answer.route.segments] == [
        (first.peer_id, cut_after),
        (second.peer_id, len(CALL)),
    ]


async def test_a_job_with_tools_that_comes_out_otherwise_is_an_error(world: World) -> None:
    """What the caller saw would be no beginning of the second node's answer."""
    _, second = _pair(world, words=CALL, cut_after=2)
    second.words = ("Let", " us", *CALL[2:])
    with pytest.raises(AnswerInterrupted, match="another answer") as caught:
        await _call(world)
    assert caught.value.text == "Let me"


async def test_a_job_with_tools_that_ends_before_what_was_seen_is_an_error(world: World) -> None:
    """A shorter answer is another one, too."""
    _, second = _pair(world, words=CALL, cut_after=4)
    second.words = CALL[:3]
    with pytest.raises(AnswerInterrupted, match="another answer"):
        await _call(world)


@pytest.mark.parametrize("others", [("Let", " us", *CALL[2:]), ("No.",), ()], ids=["other words", "shorter", "nothing"])
async def test_an_answer_that_nobody_saw_may_come_out_otherwise(world: World, others: tuple[str, ...]) -> None:
    """The second node's answer is the answer; both nodes are paid for what they gave."""
    first, second = _pair(world, words=CALL, cut_after=2)
    second.words, second.finish_reason = others, "stop"
    async with world.client() as client:
        answer = await client.chat(messages=HELLO, tools=TOOLS)
    assert (answer.response, answer.usage.completion_tokens) == ("".join(others), len(others))
    assert answer.ids == tuple(range(len(others)))
    assert [(part.node, part.output_units) for part in answer.route.segments] == [
        (first.peer_id, 2),
        (second.peer_id, len(others)),
    ]
    (closing,) = world.tracker.settled
    voucher, final = open_voucher(closing.voucher), answer.receipt.voucher.body
    assert (voucher.body.count, final.start, final.count, final.previous) == (2, 2, len(others), voucher.digest)


async def test_an_answer_that_nobody_saw_is_told_as_far_as_it_came(world: World) -> None:
    """Where nobody begins it anew."""
    _, second = _pair(world, words=CALL, cut_after=2)
    second.refuse = [DRAINS]
    async with world.client() as client:
        with pytest.raises(AnswerInterrupted) as caught:
            await client.chat(messages=HELLO, tools=TOOLS)
    assert caught.value.text == "Let me"


@pytest.mark.parametrize("is_shown", [True, False])
async def test_each_token_of_an_answer_that_was_cut_has_one_log_probability(world: World, *, is_shown: bool) -> None:
    """Those that came twice are counted once."""
    _pair(world, words=CALL, cut_after=2)
    async with world.client() as client:
        if is_shown:
            stream = await client.chat(messages=HELLO, logprobs=0, stream=True)
            async for _ in stream:
                pass
            answer = stream.result
        else:
            answer = await client.chat(messages=HELLO, logprobs=0)
    assert [entry.id for entry in answer.logprobs or ()] == list(range(len(CALL)))
