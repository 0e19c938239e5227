"""One stream, end to end with the protocol's own client: answers, flow, cancel, re-attachment, draining."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from gpunode_node.job_session import FINAL_VOUCHER_TIMEOUT_S
from gpunode_protocol.client_job import Completed
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.messages import (
    AcceptedFrame,
    CancelFrame,
    DoneFrame,
    PingFrame,
    RequestFrame,
    SettledFrame,
    TokensFrame,
    VoucherFrame,
    encode_frame,
)
from gpunode_protocol.requests import Resume

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, ask, raw_frames, refusal
from tests.node.virtual_time import virtual_time
from tests.node.world import (
    CLIENT,
    EPOCH,
    OTHER,
    llm_params,
    request,
    running_node,
)


def _is_completed(event: object) -> bool:
    return isinstance(event, Completed)


async def _is_full() -> bool:
    return False


def _has_tokens(event: object) -> bool:
    return isinstance(event, TokensFrame)


@virtual_time
async def test_a_job_is_answered_and_settled(tmp_path: Path) -> None:
    """Tokens, a receipt that the client verifies, and receipt with final voucher in the outbox."""
    async with running_node(tmp_path, FakeEngine(answer="Paris.")) as node:
        client = await ask(node, request())
        assert client.text == "Paris."
        assert client.completed.usage.output_tokens == 6
        assert client.completed.finish_reason == "stop"
        assert await node.registry.wait_ended(60)
        (item,) = await node.unsettled()
        assert item.item.receipt == client.completed.receipt.envelope
        assert item.item.voucher == client.completed.voucher.envelope


@virtual_time
async def test_the_client_is_told_when_its_final_voucher_is_on_disk(tmp_path: Path) -> None:
    """It need not hand it in then."""
    async with running_node(tmp_path, FakeEngine(answer="Paris.")) as node:
        client = await JobClient(node.connect(), request()).run(until=_is_completed)
        assert await raw_frames(client.stream) == [SettledFrame()]
        assert len(await node.outbox.ready(9)) == 1


@virtual_time
async def test_the_client_is_told_nothing_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream ends, and its client hands the voucher in."""
    async with running_node(tmp_path, FakeEngine(answer="Paris.")) as node:
        with monkeypatch.context() as patch:
            patch.setattr(node.outbox, "write_pending", _is_full)
            client = await JobClient(node.connect(), request()).run(until=_is_completed)
            assert await raw_frames(client.stream) == []


@virtual_time
async def test_a_long_answer_flows_while_the_client_vouches(tmp_path: Path) -> None:
    """More than 128 tokens pass when vouchers come."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400)) as node:
        client = await ask(node, request(params=llm_params(max_tokens=300)))
        assert client.completed.usage.output_tokens == 300
        assert client.completed.finish_reason == "length"


@virtual_time
async def test_a_silent_client_gets_no_more_than_a_window(tmp_path: Path) -> None:
    """Without vouchers the node stops at 128 tokens and gives up with voucher_overdue."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=300)), vouches=False)
        await client.run()
        assert client.error.code is ErrorCode.VOUCHER_OVERDUE
        assert len(client.text) == 128
        assert node.engine.active_jobs == 0


@virtual_time
async def test_the_last_voucher_of_an_unfinished_job_is_released(tmp_path: Path) -> None:
    """A client that stops vouching pays for what it vouched for before."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=300)))
        await client.run(until=lambda _: client.job.last_voucher is not None)
        client.vouches = False
        await client.run()
        assert client.error.code is ErrorCode.VOUCHER_OVERDUE
        assert await node.unsettled() == []
        assert await node.registry.wait_ended(60)
        (item,) = await node.unsettled()
        assert item.item.receipt is None
        assert node.nudges


@virtual_time
async def test_a_client_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    """A stream that takes nothing for 10 s ends with slow_consumer, and so does the job."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 100, tokens_per_s=2)) as node:
        stream = node.connect(capacity_bytes=0)
        asked = request(params=llm_params(max_tokens=64))
        stream.other._incoming += encode_frame(RequestFrame(request=asked.envelope))
        stream.other._bell.ring()
        await asyncio.sleep(1)
        assert await node.registry.wait_ended(60)
        assert stream.closed
        run = node.registry.find(CLIENT.peer_id, asked.envelope)
        assert run is not None
        assert run.job.error is not None
        assert run.job.error.code is ErrorCode.SLOW_CONSUMER


@virtual_time
async def test_pings_keep_a_silent_stream_alive(tmp_path: Path) -> None:
    """While the engine computes, a ping comes every 2 s."""
    async with running_node(tmp_path, FakeEngine(answer="ab", tokens_per_s=0.2)) as node:
        stream = node.connect()
        await stream.write(encode_frame(RequestFrame(request=request().envelope)))
        frames = await raw_frames(stream)
        assert [type(frame) for frame in frames[:3]] == [AcceptedFrame, PingFrame, PingFrame]
        assert sum(isinstance(frame, PingFrame) for frame in frames) >= 4
        assert isinstance(frames[-1], DoneFrame)


@virtual_time
async def test_pings_come_before_the_job_is_accepted(tmp_path: Path) -> None:
    """A slow preparation does not look like a dead node."""
    engine = FakeEngine(answer="ab")
    prepare = engine.prepare

    async def slowly(order: Any) -> Any:
        await asyncio.sleep(5)
        return await prepare(order)

    engine.prepare = slowly  # type: ignore[method-assign]  # -- the test slows it down
    async with running_node(tmp_path, engine) as node:
        stream = node.connect()
        await stream.write(encode_frame(RequestFrame(request=request().envelope)))
        frames = await raw_frames(stream)
        assert [type(frame) for frame in frames[:3]] == [PingFrame, PingFrame, AcceptedFrame]


@virtual_time
async def test_cancel_ends_with_a_receipt(tmp_path: Path) -> None:
    """After cancel the node says done{cancelled}, the engine is free, and the final voucher pays what came."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400, tokens_per_s=10)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=300)))
        await client.run(until=_has_tokens)
        client.job.cancel()
        await client.run()
        assert client.completed.finish_reason == "cancelled"
        assert client.completed.usage.output_tokens < 5
        assert node.engine.active_jobs == 0
        assert await node.registry.wait_ended(60)
        assert len(await node.unsettled()) == 1


@virtual_time
async def test_cancel_ends_a_job_that_waits_for_vouchers(tmp_path: Path) -> None:
    """What the engine has ready beyond the window is not sent after a cancel."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400)) as node:
        stream = node.connect()
        await stream.write(encode_frame(RequestFrame(request=request(params=llm_params(max_tokens=300)).envelope)))
        await asyncio.sleep(1)
        await stream.write(encode_frame(CancelFrame()))
        frames = await raw_frames(stream)
        done = frames[-1]
        assert isinstance(done, DoneFrame)
        assert (done.finish_reason, done.usage.output_tokens) == ("cancelled", 128)


@virtual_time
async def test_cancel_in_the_queue_costs_the_prompt_only(tmp_path: Path) -> None:
    """A waiting job that is cancelled ends with done and no output."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 50, tokens_per_s=1, slots=1)) as node:
        first = JobClient(node.connect(), request())
        await first.run(until=_has_tokens)
        second = JobClient(node.connect(), request())
        await second.run(until=lambda event: isinstance(event, AcceptedFrame))
        assert second.accepted.position == 1
        assert second.accepted.eta_s > 10
        second.job.cancel()
        await second.run()
        assert second.completed.usage.output_tokens == 0


@virtual_time
async def test_a_waiting_job_is_told_when_its_turn_comes(tmp_path: Path) -> None:
    """``queued`` frames carry the new position, 0 at the start."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 5, tokens_per_s=1, slots=1)) as node:
        clients = [JobClient(node.connect(), request()) for _ in range(3)]
        await asyncio.gather(*(client.run() for client in clients))
        positions = [[event.position for event in client.events if hasattr(event, "position")] for client in clients]
        assert positions == [[0], [1, 0], [2, 1, 0]]


@virtual_time
async def test_a_client_that_comes_back_gets_everything_again(tmp_path: Path) -> None:
    """The same bytes from the same peer re-attach to the running job, from its first frame on."""
    async with running_node(tmp_path, FakeEngine(answer="Paris is nice.", tokens_per_s=1)) as node:
        asked = request()
        first = JobClient(node.connect(), asked)
        await first.run(until=_has_tokens)
        await first.stream.close()
        await asyncio.sleep(3)
        second = await JobClient(node.connect(), asked, before=first.job).run()
        assert second.text == "Paris is nice."
        assert second.completed.usage.output_tokens == 14


@virtual_time
async def test_a_lost_done_is_not_computed_twice(tmp_path: Path) -> None:
    """The finished job's frames are kept for 10 minutes, although the request is stale by then."""
    async with running_node(tmp_path, FakeEngine(answer="Paris.")) as node:
        asked = request()
        await ask(node, asked)
        await asyncio.sleep(500)
        again = await JobClient(node.connect(), asked).run(until=_is_completed)
        assert again.text == "Paris."
        assert await raw_frames(again.stream) == [SettledFrame()]
        await asyncio.sleep(200)
        node.registry.expire(asyncio.get_running_loop().time())
        assert (await refusal(node, asked)).code == "stale_request"


@virtual_time
async def test_a_client_that_leaves_is_cancelled_after_the_grace(tmp_path: Path) -> None:
    """A closed stream stops the engine when nobody comes back."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400, tokens_per_s=1)) as node:
        asked = request(params=llm_params(max_tokens=300))
        client = JobClient(node.connect(), asked)
        await client.run(until=_has_tokens)
        await client.stream.close()
        await asyncio.sleep(4)
        assert node.engine.active_jobs == 1
        await asyncio.sleep(3)
        assert node.engine.active_jobs == 0
        again = await ask(node, asked)
        assert again.completed.finish_reason == "cancelled"


@virtual_time
async def test_a_voucher_for_what_was_not_sent_ends_the_job(tmp_path: Path) -> None:
    """A voucher with a wrong digest is an error of the client."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 100, tokens_per_s=10)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=100)))
        await client.run(until=_has_tokens)
        client.job.output.add_tokens([1], "never sent")
        voucher = client.job.closing_voucher()
        assert voucher is not None
        await client.run()
        assert client.error.code is ErrorCode.BAD_VOUCHER
        assert await node.outbox.counts() == {"held": 0, "ready": 0, "unwritten": 0}


@virtual_time
async def test_a_voucher_of_another_client(tmp_path: Path) -> None:
    """Somebody else's signature promises nothing."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 100, tokens_per_s=10)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=100)))
        await client.run(until=_has_tokens)
        client.job.identity = OTHER
        voucher = client.job.closing_voucher()
        assert voucher is not None
        await client.run()
        assert client.error.code is ErrorCode.BAD_VOUCHER


@virtual_time
async def test_the_stream_closes_when_no_final_voucher_comes(tmp_path: Path) -> None:
    """After done the node waits a bounded time."""
    async with running_node(tmp_path, FakeEngine(answer="a")) as node:
        stream = node.connect()
        clock = asyncio.get_running_loop().time
        started_at = clock()
        await stream.write(encode_frame(RequestFrame(request=request().envelope)))
        frames = await raw_frames(stream)
        assert isinstance(frames[-1], DoneFrame)
        assert clock() - started_at == pytest.approx(FINAL_VOUCHER_TIMEOUT_S, abs=0.1)


@virtual_time
async def test_a_failed_engine_is_named(tmp_path: Path) -> None:
    """A crash of the engine fails the job with its cause, retryable elsewhere."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 50, tokens_per_s=1)) as node:
        client = JobClient(node.connect(), request())
        await client.run(until=_has_tokens)
        await node.engine.crash()
        await client.run()
        assert (client.error.code, client.error.retryable) == (ErrorCode.ENGINE_FAILED, True)


@virtual_time
async def test_a_job_ends_at_its_deadline(tmp_path: Path) -> None:
    """The request's own deadline bounds the generation."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 500, tokens_per_s=1)) as node:
        asked = request(deadline_at=EPOCH + 20, params=llm_params(max_tokens=500))
        client = await ask(node, asked)
        assert client.error.code is ErrorCode.TIME_LIMIT


@virtual_time
async def test_draining(tmp_path: Path) -> None:
    """What runs is told and finishes; what is new is refused; what runs too long ends with an error."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 20, tokens_per_s=1)) as node:
        short = JobClient(node.connect(), request(params=llm_params(max_tokens=5)))
        long = JobClient(node.connect(), request())
        await asyncio.gather(short.run(until=_has_tokens), long.run(until=_has_tokens))
        node.intake.draining = True
        node.registry.drain(8)
        refused = await refusal(node, request())
        assert (refused.code, refused.retryable) == ("draining", True)
        await asyncio.gather(short.run(), long.run())
        assert short.completed.finish_reason == "length"
        assert any(hasattr(event, "deadline_s") for event in short.events)
        assert (long.error.code, long.error.retryable) == (ErrorCode.DRAINING, True)


@virtual_time
async def test_a_cut_answer_is_resumed(tmp_path: Path) -> None:
    """The ids received so far go on after the cut, are billed once, and need the same weights and prompt."""
    async with running_node(tmp_path, FakeEngine(answer="Paris is nice.")) as node:
        asked = request(params=llm_params(max_tokens=5))
        first = await ask(node, asked)
        resume = Resume(ids=tuple(b"Paris"), text_offset=5, prompt_digest=first.accepted.prompt_digest)
        fields: dict[str, Any] = {
            "job": asked.body.job,
            "segment": 1,
            "start": 5,
            "previous_voucher": first.completed.voucher.digest,
            "resume": resume,
        }
        fingerprint = node.engine.info.fingerprint
        second = await ask(node, request(**fields, fingerprint=fingerprint))
        assert second.text == " is nice."
        assert second.completed.usage.resumed_tokens == 5
        other_prompt = llm_params(messages=({"role": "user", "content": "bye"},))
        fields |= {"segment": 2, "start": 14}
        assert (await refusal(node, request(**fields))).code == "resume_refused"
        changed = request(**fields, fingerprint=fingerprint, params=other_prompt)
        assert (await refusal(node, changed)).code == "resume_refused"


@virtual_time
async def test_ids_that_a_client_never_received_are_charged_as_input(tmp_path: Path) -> None:
    """It may put words into the node's mouth; reading them is paid for like any other prompt."""
    async with running_node(tmp_path, FakeEngine(answer="Paris is nice.")) as node:
        asked = request(params=llm_params(max_tokens=1))
        first = await ask(node, asked)
        resume = Resume(ids=tuple(b"Lyons is"), text_offset=8, prompt_digest=first.accepted.prompt_digest)
        fields: dict[str, Any] = {"job": asked.body.job, "segment": 1, "start": 8, "resume": resume}
        fields["previous_voucher"] = first.completed.voucher.digest
        second = await ask(node, request(**fields, fingerprint=node.engine.info.fingerprint))
    assert second.completed.usage.resumed_tokens == 8
    assert second.completed.voucher.body.input_count == first.completed.voucher.body.input_count + 8


@virtual_time
async def test_vouchers_survive_the_same_voucher_again(tmp_path: Path) -> None:
    """A voucher that comes twice changes nothing."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 100, tokens_per_s=10)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=100)))
        await client.run(until=_has_tokens)
        voucher = client.job.closing_voucher()
        assert voucher is not None
        for _ in range(3):
            await client.stream.write(encode_frame(VoucherFrame(voucher=voucher.envelope)))
        await client.run()
        assert client.completed.usage.output_tokens == 100
