"""Many peers of one address: what they may have together is limited too, whoever they say to be.

As many p2pds as fill a node's address take a while to start; the short tests have two of them, before a node's streams
that run inside the test with smaller limits.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gpunode_node import job_registry
from gpunode_node.stream_gate import MAX_STREAMS_PER_ADDRESS, StreamGate
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.grants import Confirmation
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshStream
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.messages import (
    JOB_PROTOCOL,
    NODE_FRAMES,
    AcceptedFrame,
    ErrorFrame,
    Frame,
    RequestFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

from tests.acceptance.attacker import Attacker
from tests.acceptance.identified_mesh import mesh_of
from tests.acceptance.network import Network, is_idle
from tests.acceptance.processes import Daemon, wait_until
from tests.acceptance.raw_peer import FRAME_DEADLINE_S, RawPeer
from tests.engines.fake_engine import FakeEngine
from tests.node.world import CLIENT, NODE, OTHER, Node, grant, request, running_node, token
from tests.protocol.mesh.conftest import tcp_address

pytestmark = pytest.mark.acceptance

ENOUGH = MAX_STREAMS_PER_ADDRESS // MAX_STREAMS_PER_PEER
"""Peers that, with as many streams as a peer may have, have as many as an address may have; a p2pd each."""
MORE = 2
STARTS_AT_ONCE = 8


@dataclass
class Home:
    """A node that works step by step, and the meshes of two peers who live together."""

    node: Node
    address: str
    meshes: dict[Identity, HivemindMesh]
    streams: list[MeshStream] = field(default_factory=list)

    async def open(self, peer: Identity) -> MeshStream:
        """Open a job stream, and hold it."""
        self.streams.append(await self.meshes[peer].open_stream(NODE.peer_id, JOB_PROTOCOL, [self.address]))
        return self.streams[-1]

    def let_go(self) -> None:
        """Cut all streams."""
        while self.streams:
            self.streams.pop().abort()

    async def ask(self, peer: Identity) -> Frame:
        """Ask for a job; return the node's first frame."""
        stream, parser = await self.open(peer), FrameParser()
        name = f"grant-of-{peer.peer_id}"
        asked = request(peer, token(grant(cnf=Confirmation(peer=peer.peer_id), jti=name)))
        await stream.write(encode_frame(RequestFrame(request=asked.envelope)))
        async with asyncio.timeout(FRAME_DEADLINE_S):
            while not (payloads := parser.feed(await stream.read())):
                pass
        return decode_frame(payloads[0], NODE_FRAMES)


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    """Start three p2pds; the peers' streams come from 127.0.0.1."""
    async with AsyncExitStack() as stack, running_node(tmp_path, FakeEngine(stepped=True)) as node:
        server = await mesh_of(stack, tmp_path / "s", NODE)
        address = await tcp_address(server)
        await server.serve(JOB_PROTOCOL, node.streams.serve)
        meshes = {peer: await mesh_of(stack, tmp_path / peer.peer_id[-4:], peer, address) for peer in (CLIENT, OTHER)}
        found = Home(node, address, meshes)
        stack.callback(found.let_go)
        yield found


async def test_two_peers_share_the_streams_of_their_address(home: Home) -> None:
    """Neither has too many, but both together: so many are refused, and told so; streams that end make room."""
    limit = MAX_STREAMS_PER_PEER + 2
    home.node.streams._gate = StreamGate(max_streams_per_address=limit)
    streams = [await home.open(peer) for peer in home.meshes for _ in range(MAX_STREAMS_PER_PEER)]
    answers = await _first_answers([stream.read() for stream in streams], len(streams) - limit)
    assert {_code(answer) for answer in answers} == {"too_many_streams"}
    home.let_go()
    async with asyncio.timeout(FRAME_DEADLINE_S):
        while isinstance(await home.ask(CLIENT), ErrorFrame):
            pass


async def test_two_peers_share_the_jobs_of_their_address(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has as many as a peer may have, the other fewer, but both together as many as their address may have."""
    monkeypatch.setattr(job_registry, "MAX_JOBS_PER_PEER", 2)
    monkeypatch.setattr(job_registry, "MAX_JOBS_PER_ADDRESS", 3)
    first = [await home.ask(peer) for peer in (CLIENT, CLIENT, OTHER)]
    assert [type(frame) for frame in first] == [AcceptedFrame] * 3
    for peer, whose in ((CLIENT, "2 jobs of you"), (OTHER, "3 jobs of your address")):
        frame = await home.ask(peer)
        assert isinstance(frame, ErrorFrame)
        assert (frame.code, frame.retryable, whose in frame.message) == ("busy", True, True)


@pytest.fixture
def crowd(network: Network) -> Iterator[list[Attacker]]:
    """Return peers that all come from 127.0.0.1."""

    def start(_: int) -> Attacker:
        return Attacker(network, Path(tempfile.mkdtemp(prefix="crowd-", dir=network.folder)))

    with ThreadPoolExecutor(STARTS_AT_ONCE) as threads:
        peers = list(threads.map(start, range(ENOUGH + MORE)))
        yield peers
        list(threads.map(Attacker.stop, peers))


@pytest.mark.full
def test_an_address_has_no_more_job_streams_than_it_may(
    victim: Daemon, crowd: list[Attacker], raw_peer: RawPeer
) -> None:
    """No peer has too many, but all together: the last are refused, and told so; later the address is served again."""
    wait_until(lambda: is_idle(victim), "the node is idle")
    refused = MORE * MAX_STREAMS_PER_PEER
    for peer in crowd:
        peer.flood(victim, JOB_PROTOCOL, MAX_STREAMS_PER_PEER)
    assert sum(len(peer.opened) for peer in crowd) == MAX_STREAMS_PER_ADDRESS + refused
    answers = crowd[0].loop.run(_first_answers([reader.read() for peer in crowd for reader, _ in peer.opened], refused))
    assert {_code(answer) for answer in answers} == {"too_many_streams"}
    assert raw_peer.open(victim).error().code == "too_many_streams"
    for peer in crowd:
        peer.let_go()
    raw_peer.close_streams()
    assert raw_peer.complete(victim).receipt


async def _first_answers(reads: list[Coroutine[Any, Any, bytes]], count: int) -> list[bytes]:
    """Return what so many of the streams bring; the others bring nothing until all of these have."""
    reading, answered = {asyncio.create_task(read) for read in reads}, set[asyncio.Task[bytes]]()
    async with asyncio.timeout(FRAME_DEADLINE_S):
        while len(answered) < count:
            done, reading = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            answered |= done
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    assert len(answered) == count
    return [task.result() for task in answered]


def _code(answer: bytes) -> str:
    (payload,) = FrameParser().feed(answer)
    frame = decode_frame(payload, NODE_FRAMES)
    assert isinstance(frame, ErrorFrame)
    return str(frame.code)
