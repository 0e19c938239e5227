"""What a node does not work on, each refusal with its code on the wire."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpunode_node.probe_server import ProbeStreams
from gpunode_node.stream_gate import FRAME_BYTES
from gpunode_protocol.grants import Cap
from gpunode_protocol.mesh.rate_limit import PeerRateLimit
from gpunode_protocol.messages import (
    CancelFrame,
    ErrorFrame,
    PingFrame,
    ProbeFrame,
    RequestFrame,
    TokensFrame,
    encode_frame,
)
from gpunode_protocol.signing import Envelope

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, ask, raw_frames, refusal
from tests.node.virtual_time import virtual_time
from tests.node.world import (
    EPOCH,
    OTHER,
    grant,
    llm_params,
    request,
    revocations,
    running_node,
    token,
)


def _has_tokens(event: object) -> bool:
    return isinstance(event, TokensFrame)


@virtual_time
async def test_a_full_queue_refuses_with_a_time(tmp_path: Path) -> None:
    """busy is retryable and says when to come back."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 50, tokens_per_s=1, slots=1), queue_limit=0) as node:
        first = JobClient(node.connect(), request())
        await first.run(until=_has_tokens)
        refused = await refusal(node, request())
        assert (refused.code, refused.retryable) == ("busy", True)
        assert refused.retry_after_s is not None
        assert refused.retry_after_s > 10


@virtual_time
async def test_the_same_job_with_other_bytes_is_a_replay(tmp_path: Path) -> None:
    """One job and segment has one content."""
    async with running_node(tmp_path) as node:
        asked = request()
        await ask(node, asked)
        assert (await refusal(node, request(job=asked.body.job, salt=b"t" * 32))).code == "replayed"


@virtual_time
async def test_a_restarted_node_computes_nothing_twice(tmp_path: Path) -> None:
    """The result is gone after a restart, and the replay is refused in words."""
    asked = request()
    async with running_node(tmp_path) as node:
        await ask(node, asked)
    async with running_node(tmp_path) as node:
        refused = await refusal(node, asked)
        assert refused.code == "replayed"
        assert "not computed twice" in refused.message


@virtual_time
async def test_a_refused_request_may_come_again(tmp_path: Path) -> None:
    """What was refused before any work is not remembered."""
    async with running_node(tmp_path, FakeEngine(context_tokens=64)) as node:
        asked = request(params=llm_params(max_tokens=64))
        assert (await refusal(node, asked)).code == "context_overflow"
        assert (await refusal(node, asked)).code == "context_overflow"


@virtual_time
async def test_sixty_four_requests_a_grant(tmp_path: Path) -> None:
    """The replay memory of one client and grant is bounded."""
    async with running_node(tmp_path, FakeEngine(answer="a")) as node:
        for _ in range(64):
            node.services.desk.begin(request(), grant(jobs=100))
        refused = await refusal(node, request())
        assert (refused.code, refused.retryable) == ("replay_memory_full", True)


def _forged() -> str:
    return token(grant(), signer=OTHER)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"issued_at": EPOCH - 61}, "stale_request"),
        ({"issued_at": EPOCH + 62}, "stale_request"),
        ({"deadline_at": EPOCH - 1}, "deadline_passed"),
        ({"network": "0" * 40}, "wrong_network"),
        ({"node": OTHER.peer_id}, "wrong_node"),
        ({"task": "juggling"}, "unknown_task"),
        ({"task": "image_gen", "grant_token": token(grant(tasks=("image_gen",)))}, "unknown_model"),
        ({"model": "other-model"}, "unknown_model"),
        ({"fingerprint": b"f" * 32}, "fingerprint_mismatch"),
        ({"params": llm_params(max_tokens=0)}, "invalid_parameters"),
        ({"params": llm_params(messages=())}, "invalid_parameters"),
        ({"params": llm_params(tool_choice='"auto"')}, "invalid_parameters"),
        ({"params": {}}, "invalid_parameters"),
        ({"params": llm_params(max_tokens=5_000)}, "context_overflow"),
        ({"grant_token": "nonsense"}, "grant_invalid"),
        ({"grant_token": _forged()}, "grant_invalid"),
        ({"grant_token": token(grant(exp=EPOCH - 1, iat=EPOCH - 3600))}, "grant_expired"),
        ({"grant_token": token(grant(jti="revoked-1"))}, "grant_revoked"),
        ({"grant_token": token(grant(tasks=("whisper",)))}, "task_not_allowed"),
        ({"grant_token": token(grant(cap=Cap(open=100)))}, "grant_exhausted"),
        ({"grant_token": token(grant(cap=Cap(nodes={OTHER.peer_id: 10**9})))}, "grant_invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@virtual_time
async def test_refusals(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    """Each check that fails is answered with its own code."""
    async with running_node(tmp_path) as node:
        node.view["view"] = replace(node.view["view"], revocations=revocations("revoked-1").body)
        assert (await refusal(node, request(**changes))).code == code


@virtual_time
async def test_wrong_and_foreign_signatures(tmp_path: Path) -> None:
    """A request counts only when the peer at the stream's other end signed it."""
    async with running_node(tmp_path) as node:
        asked = request()
        flipped = bytes([asked.envelope.signature[0] ^ 1]) + asked.envelope.signature[1:]
        wrong = replace(asked, envelope=Envelope(body=asked.envelope.body, signature=flipped))
        assert (await refusal(node, wrong)).code == "bad_signature"
        missing = replace(asked, envelope=Envelope(body=asked.envelope.body, signature=b""))
        assert (await refusal(node, missing)).code == "bad_signature"
        assert (await refusal(node, asked, peer=OTHER)).code == "bad_signature"


@virtual_time
async def test_another_clients_grant(tmp_path: Path) -> None:
    """A grant is bound to its client's key."""
    async with running_node(tmp_path) as node:
        assert (await refusal(node, request(OTHER, token(grant())), peer=OTHER)).code == "grant_invalid"


@virtual_time
async def test_bytes_that_break_the_protocol(tmp_path: Path) -> None:
    """Garbage, a frame too long, and a first frame that is no request are answered and end the stream."""
    async with running_node(tmp_path) as node:
        for data, code in (
            (b"\x00\x00\x00\x03abc", "malformed"),
            (b"\x7f\xff\xff\xff", "frame_too_long"),
            (encode_frame(CancelFrame()), "unexpected_message"),
            (encode_frame(PingFrame()), "unknown_type"),
        ):
            stream = node.connect()
            await stream.write(data)
            (frame,) = await raw_frames(stream)
            assert isinstance(frame, ErrorFrame)
            assert frame.code == code


@virtual_time
async def test_a_stream_without_a_request(tmp_path: Path) -> None:
    """Ten seconds of silence end a stream; a client that closes at once is no error."""
    async with running_node(tmp_path) as node:
        (frame,) = await raw_frames(node.connect())
        assert isinstance(frame, ErrorFrame)
        assert frame.code == "first_frame_timeout"
        await node.connect().close()


@virtual_time
async def test_the_ninth_stream_of_a_peer(tmp_path: Path) -> None:
    """Eight streams a peer; another peer is not affected."""
    async with running_node(tmp_path) as node:
        streams = [node.connect() for _ in range(8)]
        (frame,) = await raw_frames(node.connect())
        assert isinstance(frame, ErrorFrame)
        assert (frame.code, frame.retryable) == ("too_many_streams", True)
        other = node.connect(OTHER.peer_id)
        await asyncio.sleep(1)
        assert not other.closed
        assert not any(stream.closed for stream in streams)


@virtual_time
async def test_first_frames_count_as_frames(tmp_path: Path) -> None:
    """Whoever sends one after the other, each on a stream of its own, is read from more slowly; so are refused ones."""
    async with running_node(tmp_path) as node:
        node.streams._gate._of_peer = PeerRateLimit(rate_per_s=FRAME_BYTES, burst=FRAME_BYTES)
        began_s = asyncio.get_running_loop().time()
        for _ in range(3):
            stream = node.connect()
            await stream.write(b"\x00\x00\x00\x03abc")
            await raw_frames(stream)
        assert await refusal(node, request(), peer=OTHER)
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(2, abs=0.2)  # their bytes count too


@virtual_time
async def test_exposure_to_an_open_grant(tmp_path: Path) -> None:
    """However much an open grant allows, this node risks no more than its limit; a funded grant is not bound by it."""
    async with running_node(tmp_path, FakeEngine(answer="a"), exposure_microcredits=500) as node:
        assert (await refusal(node, request())).code == "grant_exhausted"
        named = token(grant(jti="named", cap=Cap(nodes={node.services.identity.peer_id: 10**6})))
        assert (await ask(node, request(grant_token=named), jti="named")).text == "a"


@virtual_time
async def test_a_full_disk_refuses_new_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that cannot keep vouchers says so, retryable."""
    async with running_node(tmp_path) as node:
        monkeypatch.setattr(node.outbox, "_problem", "The disk is full.")
        refused = await refusal(node, request())
        assert (refused.code, refused.retryable) == ("busy", True)
        assert "disk is full" in refused.message


@virtual_time
async def test_full_memory_refuses_new_streams_and_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is refused before its request is read, and probes send clients elsewhere; a job that runs goes on."""
    engine = FakeEngine(answer="x" * 50, tokens_per_s=1)
    async with running_node(tmp_path, engine) as node:
        running = JobClient(node.connect(), request(params=llm_params(max_tokens=50)))
        waiting = node.connect()
        await running.run(until=_has_tokens)
        monkeypatch.setattr(node.services.memory, "problem", "The memory is full.")
        (frame,) = await raw_frames(node.connect())
        assert isinstance(frame, ErrorFrame)
        assert (frame.code, frame.retryable, "memory is full" in frame.message) == ("busy", True, True)
        await waiting.write(encode_frame(RequestFrame(request=request().envelope)))
        (frame,) = await raw_frames(waiting)
        assert isinstance(frame, ErrorFrame)
        assert frame.code == "busy"
        assert ProbeStreams(node.intake).answer(ProbeFrame(nonce=b"12345678")).draining
        await running.run()
        assert running.text == "x" * 50
