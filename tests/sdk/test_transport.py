import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gpunode._transport import JobLink, ReadingClock
from gpunode_protocol.adverts import Speed
from gpunode_protocol.client_job import ClientJob, Completed, Failed, JobEvent
from gpunode_protocol.errors import JobError
from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import AcceptedFrame, SegmentFrame, TokensFrame
from gpunode_protocol.payloads import ChatMessage, LlmParams
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import sign
from gpunode_protocol.tasks import Task

from tests.node.virtual_time import VirtualTimeLoop, virtual_time
from tests.sdk.memory_mesh import MemoryStream
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import EPOCH, MODEL, Keys, World

CLIENT = Identity.from_seed(b"\x04" * 32)
NODE = Identity.from_seed(b"\x03" * 32)


def _grant(keys: Keys) -> str:
    grant = Grant(
        iss=audience(keys.network),
        aud=audience(keys.network),
        sub="subject",
        jti="grant-1",
        iat=EPOCH,
        exp=EPOCH + 3600,
        cnf=Confirmation(peer=CLIENT.peer_id),
        tasks=("llm",),
        jobs=1,
        price=1,
        cap=Cap(open=1_000_000),
    )
    return issue_grant(grant, signer=keys.signer, kid=keys.kid)


class _Line:
    """A job on its way to a scripted node, in virtual time."""

    def __init__(self, *, has_ended: bool = False, **script: Any) -> None:
        keys = Keys()
        self.knocks = 0
        self._has_ended = has_ended
        self.node = ScriptedNode(NODE, keys.trust, clock=lambda: EPOCH, **script)
        params = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=1000)
        request = sign(
            CLIENT,
            JobRequest(
                network=keys.network,
                job="01890000-0000-7000-8000-000000000001",
                segment=0,
                client=CLIENT.peer_id,
                node=NODE.peer_id,
                grant=_grant(keys),
                issued_at=EPOCH,
                deadline_at=EPOCH + 1000,
                task="llm",
                model="smollm2-135m",
                params=params.to_map(),
                salt=b"s" * 32,
            ),
        )
        self.ours, self.theirs = MemoryStream(NODE.peer_id, "/memory"), MemoryStream(CLIENT.peer_id, "/memory")
        self.ours.other, self.theirs.other = self.theirs, self.ours
        clock = ReadingClock(asyncio.get_running_loop().time)
        job = ClientJob(identity=CLIENT, request=request, jti="grant-1", opened_at=clock())
        self.link = JobLink(self.ours, job, clock, self._knock)

    async def __aenter__(self) -> "_Line":
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def _knock(self) -> bool:
        self.knocks += 1
        return self._has_ended

    async def _serve(self) -> None:
        await self.node.serve_job(self.theirs)
        await self.theirs.close()


@virtual_time
async def test_a_job_to_its_end() -> None:
    """Events come in order, the final voucher reaches the node, which then closes."""
    async with _Line() as line:
        events = []
        while not line.link.job.is_over:
            events += await line.link.next_events()
        assert await line.link.hand_over()
        assert isinstance(events[-1], Completed)
        assert [event.text for event in events if isinstance(event, TokensFrame)] == list(line.node.words)
        assert line.node.jobs[0].is_settled
        assert await line.link.next_events() == []


@virtual_time
async def test_a_silent_node_is_given_up_after_five_seconds() -> None:
    """No frame at all: the deadline runs while the link reads."""
    async with _Line(silent=True) as line:
        (event,) = await line.link.next_events()
        assert isinstance(event, Failed)
        assert "silent for 5 s" in str(event.error)


async def _block_the_loop(line: _Line) -> "asyncio.Task[list[JobEvent]]":
    """Let the link wait for its node for 1 s, then let nothing run for 7 s; return the waiting."""
    reading = asyncio.create_task(line.link.next_events())
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.hold_up(7)
    return reading


@virtual_time
async def test_a_blocked_event_loop_does_not_make_the_node_late() -> None:
    """What the node said while the caller's own code held the loop up is read before the node is called silent."""
    async with _Line(hesitates_s=3.0) as line:
        events = await (await _block_the_loop(line))
        assert isinstance(events[0], AcceptedFrame)
        assert line.link.clock.lost_s == 7


@virtual_time
async def test_a_node_that_is_silent_beside_a_blocked_loop_is_given_up() -> None:
    """After five seconds in which it could have been heard."""
    async with _Line(silent=True) as line:
        started_at = asyncio.get_running_loop().time()
        reading = await _block_the_loop(line)
        (event,) = await reading
        assert isinstance(event, Failed)
        assert asyncio.get_running_loop().time() - started_at == 7 + 5


@virtual_time
async def test_a_slow_consumer_does_not_make_the_node_late() -> None:
    """While nobody reads, no deadline runs, however long that takes; what came meanwhile is still read."""
    async with _Line() as line:
        await line.link.next_events()
        await asyncio.sleep(60)
        events = []
        while not line.link.job.is_over:
            events += await line.link.next_events()
        assert isinstance(events[-1], Completed)


@virtual_time
async def test_nobody_knocks_while_nobody_reads() -> None:
    """A slow consumer is not the node's silence."""
    async with _Line(has_ended=True) as line:
        events = []
        while not line.link.job.is_over:
            events += await line.link.next_events()
            await asyncio.sleep(60)
        assert isinstance(events[-1], Completed)
        assert line.knocks == 0


@virtual_time
async def test_a_refusal_ends_a_silent_job() -> None:
    """What came before it counts, and the error says what was found."""
    async with _Line(has_ended=True, mute_after=2) as line:
        events = []
        while not line.link.job.is_over:
            events += await line.link.next_events()
        assert line.link.job.output.count == 2
        assert isinstance(events[-1], Failed)
        assert "refuses connections" in str(events[-1].error)


@virtual_time
async def test_a_reader_that_leaves_breaks_a_knock_off() -> None:
    """No task outlives the one who waits for the node."""
    async with _Line(silent=True) as line:
        started = asyncio.Event()

        async def never() -> bool:
            started.set()
            await asyncio.Event().wait()
            return True

        before = asyncio.all_tasks()
        line.link = JobLink(line.ours, line.link.job, line.link.clock, never)
        reading = asyncio.create_task(line.link.next_events())
        await started.wait()
        reading.cancel()
        await asyncio.wait([reading])
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


@virtual_time
async def test_a_node_that_takes_nothing_is_read_to_its_end() -> None:
    """A write that fails or hangs does not lose what the node has said."""
    async with _Line(cut_after=1) as line:
        line.ours.write = _never  # type: ignore[method-assign]  # -- a pipe that is full for ever
        started_at = asyncio.get_running_loop().time()
        events = await line.link.next_events()
        assert asyncio.get_running_loop().time() - started_at >= 10
        assert isinstance(events[-1], Failed)
        assert not await line.link.hand_over()


@virtual_time
async def test_a_streams_end_does_not_say_that_the_node_has_its_voucher() -> None:
    """A node that is killed after done looks like one that closes."""
    async with _Line(dies_unsettled=True) as line:
        while not line.link.job.is_over:
            await line.link.next_events()
        assert line.link.completed is not None
        assert not await line.link.hand_over()


@virtual_time
async def test_winding_down_ends_with_a_receipt() -> None:
    """A cancelled job is seen to its end."""
    async with _Line(endless=True) as line:
        await line.link.next_events()
        await line.link.wind_down()
        assert line.link.completed is not None
        assert line.link.completed.finish_reason == "cancelled"
        assert await line.link.hand_over()


@virtual_time
async def test_a_node_that_ignores_a_cancel_is_left_after_three_seconds() -> None:
    """Then a voucher for what came is owed."""
    async with _Line(silent=True) as line:
        started_at = asyncio.get_running_loop().time()
        await line.link.wind_down()
        assert asyncio.get_running_loop().time() - started_at == 3
        assert not line.link.job.is_over


@virtual_time
async def test_a_cut_stream_is_a_failure() -> None:
    """Only done means done."""
    async with _Line(cut_after=2) as line:
        events = []
        while not line.link.job.is_over:
            events += await line.link.next_events()
        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, JobError)


def test_the_reading_clock_stands_still_while_paused() -> None:
    """Pauses add up and do not count."""
    now = [0.0]
    clock = ReadingClock(lambda: now[0])
    steps: list[tuple[float, Callable[[], None]]] = [(1, clock.pause), (5, clock.pause), (9, clock.resume)]
    for at, act in steps:
        now[0] = at
        act()
    assert clock() == 1
    now[0] = 11
    assert clock() == 3


async def _never(data: bytes) -> None:  # noqa: ARG001 -- the contract's signature
    await asyncio.Event().wait()


@virtual_time
async def test_a_long_upload_is_not_the_nodes_delay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has the time for its first output after the last piece, however slow the client's line is."""
    write = MemoryStream.write

    async def write_slowly(stream: MemoryStream, data: bytes) -> None:
        await asyncio.sleep(len(data) / 100_000)
        await write(stream, data)

    monkeypatch.setattr(MemoryStream, "write", write_slowly)
    speed = Speed(input_milliunits_per_s=0, output_milliunits_per_s=10_000_000)
    spoken = SegmentFrame(start_ms=0, end_ms=2_000, text=" One", language="en")
    node = world.add_node(task=Task.WHISPER, speed=speed, segments=[spoken], first_token_s=1.0)
    async with world.client() as client:
        heard = await client.transcribe(bytes(3 * 1024 * 1024), model=MODEL)
    assert (heard.text, heard.route.node, heard.route.failed) == ("One", node.peer_id, ())
