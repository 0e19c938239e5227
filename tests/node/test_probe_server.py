"""Probes and their answers."""

import asyncio
from pathlib import Path

import pytest
from gpunode_node.probe_server import ProbeStreams
from gpunode_node.stream_gate import FRAME_BYTES
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.mesh.rate_limit import PeerRateLimit
from gpunode_protocol.messages import (
    PROBE_REPLY_FRAMES,
    ErrorFrame,
    ProbeFrame,
    TokensFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.probe import ProbeClient

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient
from tests.node.memory_stream import MemoryStream, stream_pair
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, NODE, Node, request, running_node


def _connect(node: Node) -> tuple[MemoryStream, asyncio.Task[None]]:
    ours, theirs = stream_pair(CLIENT.peer_id, NODE.peer_id)
    return ours, asyncio.create_task(ProbeStreams(node.intake).serve(theirs))


@virtual_time
async def test_an_idle_node(tmp_path: Path) -> None:
    """The nonce comes back with free slots and no wait; several probes may use one stream."""
    async with running_node(tmp_path) as node:
        stream, serving = _connect(node)
        for nonce in (b"12345678", b"87654321"):
            probe = ProbeClient(nonce, "fake")
            await stream.write(probe.data_to_send())
            reply = probe.receive_data(await stream.read())
            assert reply is not None
            assert (reply.active, reply.queued, reply.slots, reply.wait_ms, reply.draining) == (0, 0, 4, 0, False)
        await stream.close()
        await serving


@virtual_time
async def test_a_busy_node(tmp_path: Path) -> None:
    """Running and waiting jobs count, and the wait follows from them; draining is said."""
    engine = FakeEngine(answer="x" * 50, tokens_per_s=1, slots=1)
    async with running_node(tmp_path, engine) as node:
        for _ in range(2):
            client = JobClient(node.connect(), request())
            asyncio.get_running_loop().create_task(client.run())
            await asyncio.sleep(0.1)
        node.intake.draining = True
        reply = ProbeStreams(node.intake).answer(ProbeFrame(nonce=b"12345678"))
        assert (reply.active, reply.queued, reply.slots, reply.draining) == (1, 1, 1, True)
        assert reply.wait_ms > 30_000
        assert ProbeStreams(node.intake).answer(ProbeFrame(nonce=b"12345678", model="other")).slots == 0
        await node.registry.wait_ended(200)


@virtual_time
async def test_garbage_and_silence(tmp_path: Path) -> None:
    """Bytes that break the protocol are answered; a stream that asks nothing is closed."""
    async with running_node(tmp_path) as node:
        stream, serving = _connect(node)
        await stream.write(encode_frame(TokensFrame(ids=(1,), text="a")))
        (payload,) = FrameParser().feed(await stream.read())
        frame = decode_frame(payload, PROBE_REPLY_FRAMES)
        assert isinstance(frame, ErrorFrame)
        assert frame.code == "unknown_type"
        await serving
        stream, serving = _connect(node)
        started_at = asyncio.get_running_loop().time()
        assert await stream.read() == b""
        assert asyncio.get_running_loop().time() - started_at == 10
        await serving


@virtual_time
async def test_too_many_streams(tmp_path: Path) -> None:
    """Probe streams are counted too."""
    async with running_node(tmp_path) as node:
        probes = ProbeStreams(node.intake)
        serving, streams = [], []
        for _ in range(9):
            ours, theirs = stream_pair(CLIENT.peer_id, NODE.peer_id)
            streams.append(ours)
            serving.append(asyncio.create_task(probes.serve(theirs)))
        probe = ProbeClient(b"12345678")
        with pytest.raises(JobError) as caught:
            probe.receive_data(await streams[8].read())
        assert caught.value.code is ErrorCode.TOO_MANY_STREAMS
        for stream in streams:
            await stream.close()
        await asyncio.gather(*serving)


@virtual_time
async def test_streams_of_garbage_count_as_frames(tmp_path: Path) -> None:
    """Whoever opens one after the other is read from more slowly."""
    async with running_node(tmp_path) as node:
        probes = ProbeStreams(node.intake)
        probes._gate._of_peer = PeerRateLimit(rate_per_s=FRAME_BYTES, burst=FRAME_BYTES)
        began_s = asyncio.get_running_loop().time()
        for _ in range(3):
            ours, theirs = stream_pair(CLIENT.peer_id, NODE.peer_id)
            await ours.write(b"\x00\x00\x00\x03abc")
            await probes.serve(theirs)
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(2, abs=0.2)
