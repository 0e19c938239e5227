import asyncio
from collections.abc import Sequence

import pytest
from gpunode import AsyncInferenceClient
from gpunode._job_requests import Job
from gpunode._opening import MIN_OPENING_S
from gpunode._selection import Choice
from gpunode._silence import MIN_SILENCE_S
from gpunode.errors import AnswerInterrupted, NoNodeFound
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.mesh.knock import Door
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL, SegmentFrame
from gpunode_protocol.patience import Patience
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryStream
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import HELLO, MODEL, World


def _error(code: ErrorCode, retry_after_s: float | None = None) -> JobError:
    return job_error(code, "said the node", retry_after_s=retry_after_s)


@pytest.mark.parametrize("code", [ErrorCode.REPLAY_MEMORY_FULL, ErrorCode.GRANT_EXPIRED, ErrorCode.GRANT_REVOKED])
async def test_a_grant_that_a_node_refuses_is_replaced_once(world: World, code: ErrorCode) -> None:
    """The same node is asked again with another grant."""
    node = world.add_node(refuse=[_error(code)])
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.route.node == node.peer_id
    assert answer.route.failed == ()
    assert len(world.tracker.grants) == 2
    assert node.requests[0].request.body != node.requests[1].request.body


async def test_a_node_that_limits_open_grants_gets_one_in_its_name(world: World) -> None:
    """A second exhausted grant means that the job alone is beyond the node's limit."""
    exhausted = ErrorCode.GRANT_EXHAUSTED
    node = world.add_node(refuse=[_error(exhausted), _error(exhausted)])
    async with world.client() as client:
        await client.chat(messages=HELLO)
    assert [request.nodes is None for request in world.tracker.grants] == [True, True, False]
    assert list(world.tracker.grants[-1].nodes or ()) == [node.peer_id]


async def test_a_node_that_refuses_every_grant_is_given_up(world: World) -> None:
    """There is no endless exchange of grants."""
    full = ErrorCode.REPLAY_MEMORY_FULL
    node = world.add_node(refuse=[_error(full)] * 5)
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="said the node"):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 2


async def test_a_busy_node_is_passed_over(world: World) -> None:
    """Busy is no failure, and the next node answers."""
    busy = world.add_node(refuse=[_error(ErrorCode.BUSY, 2.0)])
    world.add_node(region=Region.EUROPE)
    world.remove_probe(world.nodes[1].peer_id)
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert [attempt.node for attempt in answer.route.failed] == [busy.peer_id]


async def test_an_unreachable_node_is_passed_over(world: World) -> None:
    """A node whose advert is still there but which has gone."""
    gone = world.add_node()
    del world.mesh.handlers[gone.peer_id, JOB_PROTOCOL]
    world.add_node(region=Region.EUROPE)
    world.remove_probe(world.nodes[1].peer_id)
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.route.node == world.nodes[1].peer_id
    assert "could not be reached" in answer.route.failed[0].reason


async def test_no_more_nodes_are_tried_than_allowed(world: World) -> None:
    """Everybody fails; the error lists who and why."""
    for _ in range(5):
        world.add_node(cut_after=0)
    async with world.client(max_attempts=3) as client:
        with pytest.raises(NoNodeFound) as caught:
            await client.chat(messages=HELLO)
    assert len(caught.value.attempts) == 3
    assert "3 x The node's stream ended" in str(caught.value)


async def test_a_node_that_failed_is_tried_last(world: World) -> None:
    """The breaker of a node that was cut puts the other one first in the next job."""
    broken = world.add_node(cut_after=0)
    world.add_node(region=Region.EUROPE)
    async with world.client() as client:
        await client.chat(messages=HELLO)
        asked_before = world.mesh.opened[broken.peer_id, JOB_PROTOCOL]
        world.remove_probe(world.nodes[1].peer_id)
        answer = await client.chat(messages=HELLO)
    assert asked_before <= 1
    assert answer.route.node == world.nodes[1].peer_id or asked_before == 0
    assert (broken.peer_id, PROBE_PROTOCOL) in world.mesh.handlers


async def test_a_path_through_a_relay_is_named(world: World) -> None:
    """The route says how the node was reached, not what its advert claims."""
    node = world.add_node()
    world.mesh.address_of[node.peer_id] = "/ip4/11.0.0.1/tcp/4001/p2p/12D3KooW/p2p-circuit"
    async with world.client() as client:
        assert (await client.chat(messages=HELLO)).route.path == "relayed"


async def test_another_node_finishes_an_answer(world: World) -> None:
    """No token is lost, said twice or paid twice; the vouchers are a chain."""
    first = world.add_node(cut_after=2)
    second = world.add_node(region=Region.EUROPE)
    second.queued = 4
    async with world.client() as client:
        stream = await client.chat(messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        answer = stream.result
    assert [number for chunk in chunks for number in chunk.ids] == [0, 1, 2, 3]
    assert "".join(chunk.text for chunk in chunks) == answer.response == "Paris is the capital."
    assert [(part.node, part.output_units) for part in answer.route.segments] == [
        (first.peer_id, 2),
        (second.peer_id, 2),
    ]
    assert answer.route.segments[1].ended == "done"
    assert answer.usage.completion_tokens == 4
    (closing,) = world.tracker.settled
    voucher = open_voucher(closing.voucher)
    body = second.jobs[0].request.body
    assert (voucher.body.start, voucher.body.count, voucher.body.final) == (0, 2, False)
    assert (body.start, body.previous_voucher, body.fingerprint) == (2, voucher.digest, second.fingerprint)
    final = answer.receipt.voucher.body
    assert (final.start, final.count, final.previous) == (2, 2, voucher.digest)


def _dead_over_quic(world: World) -> ScriptedNode:
    """Add a node whose process ends after two tokens, of which QUIC tells nothing, and one that can finish."""
    quic = "/ip4/127.0.0.1/udp/4001/quic-v1"
    dead = world.add_node(mute_after=2, addresses=("/ip4/127.0.0.1/tcp/4001", quic))
    world.mesh.address_of[dead.peer_id] = quic
    world.add_node(region=Region.EUROPE).queued = 4
    return dead


@virtual_time
async def test_a_node_whose_process_has_ended_is_left_at_once(world: World) -> None:
    """Its address refuses connections, which is as good as a reset of the stream."""
    dead = _dead_over_quic(world)
    knocked: list[Sequence[Door]] = []

    async def refused(doors: Sequence[Door]) -> bool:
        knocked.append(doors)
        return True

    surroundings = world.surroundings(all_refuse=refused)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        began_at = asyncio.get_running_loop().time()
        answer = await client.chat(messages=HELLO)
        took_s = asyncio.get_running_loop().time() - began_at
    assert answer.response == "Paris is the capital."
    assert knocked == [(Door("127.0.0.1", 4001),)]
    first = answer.route.segments[0]
    assert (first.node, first.output_units) == (dead.peer_id, 2)
    assert "refuses connections" in first.ended
    assert took_s == pytest.approx(MIN_SILENCE_S)
    (closing,) = world.tracker.settled
    assert open_voucher(closing.voucher).body.count == 2


@virtual_time
async def test_a_silent_node_whose_address_does_not_refuse_has_its_time(world: World) -> None:
    """It is given up after the 5 s that any silence has."""
    _dead_over_quic(world)
    knocks = 0

    async def open_or_unknown(_: Sequence[Door]) -> bool:
        nonlocal knocks
        knocks += 1
        return False

    surroundings = world.surroundings(all_refuse=open_or_unknown)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert "silent for 5 s" in answer.route.segments[0].ended
    assert knocks == 5


async def test_a_second_cut(world: World) -> None:
    """A third node finishes what two began."""
    for number, cut_after in enumerate((1, 3, None)):
        world.add_node(cut_after=cut_after).queued = 4 * number
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert [part.output_units for part in answer.route.segments] == [1, 2, 1]
    assert len(answer.route.failed) == 2


async def test_the_same_node_may_finish_it(world: World) -> None:
    """A stream can break while the node lives on."""
    node = world.add_node(cut_after=2)
    surroundings = world.surroundings(resume_for_s=30.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        stream = await client.chat(messages=HELLO, stream=True)
        chunks = []
        async for chunk in stream:
            node.cut_after = None if chunks else node.cut_after
            chunks.append(chunk.text)
    assert "".join(chunks) == "Paris is the capital."
    assert [part.node for part in stream.result.route.segments] == [node.peer_id] * 2


async def test_other_weights_do_not_finish_it(world: World) -> None:
    """What they would say is no continuation."""
    world.add_node(cut_after=2)
    other = world.add_node(region=Region.EUROPE, fingerprint=b"g" * 32)
    other.queued = 4
    async with world.client() as client:
        with pytest.raises(AnswerInterrupted, match="other weights"):
            await client.chat(messages=HELLO)


async def test_another_prompt_does_not_either(world: World) -> None:
    """A node whose template makes something else of the messages is passed over."""
    world.add_node(cut_after=2)
    for number in (1, 2):
        world.add_node(region=Region.EUROPE, prompt=b"another" if number == 1 else b"prompt").queued = 4 * number
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert "another prompt" in answer.route.failed[1].reason


@pytest.mark.parametrize("is_shown", [True, False])
async def test_structured_answers_begin_anew(world: World, *, is_shown: bool) -> None:
    """The caller sees only what is new."""
    words = ("{", '"a"', ":1", "}")
    world.add_node(words=words, cut_after=2)
    second = world.add_node(region=Region.EUROPE, words=words)
    second.queued = 4
    schema = {"type": "object"}
    async with world.client() as client:
        if is_shown:
            stream = await client.chat(messages=HELLO, json_schema=schema, stream=True)
            assert "".join([chunk.text async for chunk in stream]) == '{"a":1}'
            answer = stream.result
        else:
            answer = await client.chat(messages=HELLO, json_schema=schema)
    assert (answer.response, answer.parsed) == ('{"a":1}', {"a": 1})
    assert second.jobs[0].request.body.resume is None
    assert second.jobs[0].request.body.start == 2


async def test_a_whole_answer_without_the_nodes_word(world: World) -> None:
    """All tokens are there but not the receipt: an error that has them all, for nobody else can vouch for them."""
    world.add_node(cut_after=2)
    world.add_node(region=Region.EUROPE).queued = 4
    async with world.client() as client:
        with pytest.raises(AnswerInterrupted, match="All tokens came") as caught:
            await client.chat(messages=HELLO, max_tokens=2)
    assert caught.value.text == "Paris is"


async def test_speech_goes_on_after_its_last_segment(world: World) -> None:
    """The file is sent again, and decoded from there."""
    parts = [
        SegmentFrame(start_ms=0, end_ms=2_000, text=" One", language="en"),
        SegmentFrame(start_ms=2_000, end_ms=5_000, text=" two", language="en"),
    ]
    for number in range(2):
        node = world.add_node(task=Task.WHISPER, segments=parts[number:], cut_after=1 if number == 0 else None)
        node.queued = 4 * number
    async with world.client() as client:
        result = await client.transcribe(b"RIFF", model=MODEL)
    assert (result.text, result.duration_s) == ("One two", 5.0)
    assert world.nodes[1].jobs[0].request.body.start == 2_000


def _hasty(_choice: Choice, _job: Job) -> Patience:
    """Half of the time for the first token is over at once."""
    return Patience(first_output_s=0.02)


@virtual_time
async def test_a_second_node_is_asked_when_the_first_takes_long(world: World) -> None:
    """The one that begins does the job; the other is told to stop, is named, and earns nothing."""
    slow = world.add_node(first_token_s=3_600.0)
    quick = world.add_node(region=Region.EUROPE)
    quick.queued = 4
    surroundings = world.surroundings(patience=_hasty)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert answer.route.node == quick.peer_id
    assert [attempt.node for attempt in answer.route.failed] == [slow.peer_id]
    assert "first to begin" in answer.route.failed[0].reason
    await slow.cancelled.wait()
    assert world.tracker.settled == []
    assert slow.jobs[0].last_voucher is None


@virtual_time
async def test_who_begins_in_the_same_moment_and_loses_earns_nothing(world: World) -> None:
    """Two vouchers for the same tokens would contradict each other."""
    for region, first_token_s in ((Region.ASIA, 0.02), (Region.EUROPE, 0.01)):
        world.add_node(region=region, first_token_s=first_token_s)
    world.nodes[1].queued = 4
    surroundings = world.surroundings(patience=_hasty)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        answer = await client.chat(messages=HELLO)
    (loser,) = [node for node in world.nodes if node.peer_id != answer.route.node]
    assert [attempt.node for attempt in answer.route.failed] == [loser.peer_id]
    assert loser.jobs[0].output.count > 0
    assert (loser.jobs[0].last_voucher, world.tracker.settled) == (None, [])


async def test_a_caller_that_leaves_before_the_first_token_ends_the_job(world: World) -> None:
    """At the node, properly."""
    node = world.add_node(first_token_s=3_600.0)
    async with world.client() as client:
        task = asyncio.create_task(client.chat(messages=HELLO))
        await node.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await node.cancelled.wait()


@virtual_time
async def test_a_node_that_has_ended_is_not_waited_for(world: World) -> None:
    """Its connection may be there yet, but its address refuses others: the next node is asked."""
    gone = world.add_node()
    world.mesh.unanswered.add(gone.peer_id)
    world.add_node(region=Region.EUROPE).queued = 4

    async def refused(_: Sequence[Door]) -> bool:
        return True

    surroundings = world.surroundings(all_refuse=refused)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        began_at = asyncio.get_running_loop().time()
        answer = await client.chat(messages=HELLO)
        took_s = asyncio.get_running_loop().time() - began_at
    assert [attempt.node for attempt in answer.route.failed] == [gone.peer_id]
    assert "refuses connections" in answer.route.failed[0].reason
    assert took_s == pytest.approx(MIN_OPENING_S)


@virtual_time
async def test_the_first_of_several_jobs_is_at_the_node_before_the_second_is_opened(world: World) -> None:
    """The engine has something to do while the others are signed."""
    node = world.add_node()
    serve, requests_before = world.mesh.handlers[node.peer_id, JOB_PROTOCOL], list[int]()

    async def counted(stream: MemoryStream) -> None:
        requests_before.append(len(node.requests))
        await serve(stream)

    world.mesh.handlers[node.peer_id, JOB_PROTOCOL] = counted
    async with world.client() as client:
        await asyncio.gather(*(client.chat(messages=HELLO) for _ in range(4)))
    assert requests_before == [0, 1, 2, 3]
