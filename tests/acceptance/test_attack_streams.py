"""Floods of streams, and streams that hold on to what they get, against a running node."""

import asyncio
import time
from collections.abc import Iterator

import psutil
import pytest
from gpunode import InferenceClient
from gpunode_benchmarks.flood_streams import HUGE_HEADERS
from gpunode_protocol.client_job import Failed
from gpunode_protocol.errors import JobError
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.messages import (
    JOB_PROTOCOL,
    NODE_FRAMES,
    PROBE_PROTOCOL,
    AcceptedFrame,
    DoneFrame,
    ErrorFrame,
    RequestFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

from tests.acceptance.attacker import MAX_GROWTH_BYTES, Attacker, Memory, is_at_peace, p2pd_of
from tests.acceptance.network import Network, is_idle, status_of
from tests.acceptance.processes import Daemon, wait_until
from tests.acceptance.raw_peer import FRAME_DEADLINE_S, RawPeer, RawStream

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("_victim_goes_on")]

DHT_FIND, DHT_STORE, DIALBACK = "/gpunode/1/dht/find", "/gpunode/1/dht/store", "/gpunode/1/dialback"
LIBP2P_DHT = "/ipfs/kad/1.0.0"
IDLE_STREAMS = 5_000
ALLOWED_HEADERS = {LIBP2P_DHT: b"\xf0\xff\xff\x01", DHT_STORE: b"\xf0\xff\x0f"}
"""Lengths that just pass: nearly 4 MiB and 256 KiB, allocated at once; the rest never comes."""


@pytest.fixture
def _victim_goes_on(victim: Daemon, raw_peer: RawPeer) -> Iterator[None]:
    """After whatever was done to it, the same process does honest work and owes nothing.

    Before it, the victim no longer defends itself against the test before: for 5 s it may close connections.
    """
    pid = victim.process.pid
    wait_until(lambda: is_at_peace(victim), "the victim is at peace")
    yield
    assert raw_peer.complete(victim).receipt
    wait_until(lambda: is_idle(victim), "the node is idle")
    assert status_of(victim)["pid"] == pid


def _restarts(victim: Daemon) -> int:
    restarts: int = status_of(victim)["mesh"]["restarts"]
    return restarts


def test_four_hundred_streams_at_once(victim: Daemon, attacker: Attacker) -> None:
    """Each is served or refused with a reason; none ends empty, and none is taken for a whole answer."""
    granted = attacker.peer.grant(jobs=MAX_STREAMS_PER_PEER)
    requests = [
        encode_frame(RequestFrame(request=attacker.peer.request(victim, granted.grant).envelope)) for _ in range(400)
    ]
    attacker.flood(victim, JOB_PROTOCOL, 400, *requests)
    assert (len(attacker.opened), attacker.refused) == (400, 0)
    last = [_frames(answer)[-1] for answer in attacker.answers()]
    assert all(isinstance(frame, DoneFrame | ErrorFrame) for frame in last)
    codes = [frame.code for frame in last if isinstance(frame, ErrorFrame)]
    assert len(codes) < 400  # some were served
    assert "too_many_streams" in codes
    assert set(codes) <= {"too_many_streams", "busy", "grant_exhausted", "replay_memory_full"}


def _frames(answer: bytes) -> list[object]:
    frames: list[object] = [decode_frame(payload, NODE_FRAMES) for payload in FrameParser().feed(answer)]
    assert frames, "a stream ended without a word"
    return frames


@pytest.mark.parametrize(
    "protocol",
    [
        JOB_PROTOCOL,
        pytest.param(DHT_FIND, marks=pytest.mark.full),
        pytest.param(PROBE_PROTOCOL, marks=pytest.mark.full),
        pytest.param(DIALBACK, marks=pytest.mark.full),
        pytest.param(LIBP2P_DHT, marks=pytest.mark.full),
    ],
)
def test_idle_streams(victim: Daemon, attacker: Attacker, raw_peer: RawPeer, protocol: str) -> None:
    """Thousands of them from one peer cost neither much memory nor anybody's answer."""
    restarts = _restarts(victim)
    with Memory.of(victim) as memory:
        attacker.flood(victim, protocol, IDLE_STREAMS)
        print(f"{len(attacker.opened)} opened, {attacker.refused} refused")  # noqa: T201 -- how much of a flood it was
        assert raw_peer.complete(victim).receipt
        attacker.let_go()
        assert raw_peer.complete(victim).receipt
    assert memory.growth_bytes() < MAX_GROWTH_BYTES
    assert _restarts(victim) == restarts


@pytest.mark.parametrize("count", [400, pytest.param(IDLE_STREAMS, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "protocol",
    [
        JOB_PROTOCOL,
        DHT_STORE,
        *(pytest.param(other, marks=pytest.mark.full) for other in (PROBE_PROTOCOL, DIALBACK, DHT_FIND, LIBP2P_DHT)),
    ],
)
def test_a_length_of_two_to_the_62(
    victim: Daemon, attacker: Attacker, raw_peer: RawPeer, protocol: str, count: int
) -> None:
    """Nobody makes room for it."""
    restarts = _restarts(victim)
    with Memory.of(victim) as memory:
        attacker.flood(victim, protocol, count, *HUGE_HEADERS)
        print(f"{len(attacker.opened)} opened, {attacker.refused} refused")  # noqa: T201 -- likewise
        assert raw_peer.complete(victim).receipt
    print(f"{memory.growth_bytes() / 1e6:.0f} MB")  # noqa: T201 -- likewise
    assert memory.growth_bytes() < MAX_GROWTH_BYTES
    assert _restarts(victim) == restarts


@pytest.mark.full
@pytest.mark.parametrize("protocol", list(ALLOWED_HEADERS))
def test_lengths_that_just_pass(victim: Daemon, attacker: Attacker, raw_peer: RawPeer, protocol: str) -> None:
    """20 GB are announced: p2pd is relieved or started again, and honest work goes on."""
    attacker.flood(victim, protocol, IDLE_STREAMS, ALLOWED_HEADERS[protocol])
    attacker.let_go()
    wait_until(lambda: status_of(victim)["mesh"]["state"] == "joined", "the node's mesh is well")
    assert raw_peer.complete(victim).receipt
    assert p2pd_of(victim).memory_info().rss < 512 * 1024 * 1024


def test_a_peer_that_says_nothing_and_one_that_reads_nothing(
    victim: Daemon, attacker: Attacker, raw_peer: RawPeer
) -> None:
    """Within ten seconds the one is told so, and the other's jobs end; one free slot answers everybody meanwhile."""
    slots = status_of(victim)["models"][0]["slots"]
    assert slots > 1
    granted = attacker.peer.grant(jobs=slots)
    story = {"messages": ({"role": "user", "content": "Tell me a long story about a fox."},), "max_tokens": 1_000}
    requests = [
        encode_frame(RequestFrame(request=attacker.peer.request(victim, granted.grant, params=story).envelope))
        for _ in range(slots - 1)
    ]
    attacker.flood(victim, JOB_PROTOCOL, 1)
    attacker.flood(victim, JOB_PROTOCOL, slots - 1, *requests)
    wait_until(lambda: status_of(victim)["models"][0]["active"] == slots - 1, "the attacker's jobs run")
    assert raw_peer.complete(victim).receipt
    wait_until(lambda: status_of(victim)["models"][0]["active"] == 0, "the slots are free again")
    silent, *unread = map(_frames, attacker.answers())
    assert [frame.code for frame in silent if isinstance(frame, ErrorFrame)] == ["first_frame_timeout"]
    assert len(silent) == 1
    for frames in unread:
        assert isinstance(frames[0], AcceptedFrame)
        assert isinstance(frames[-1], ErrorFrame)
        assert frames[-1].code == "voucher_overdue"  # p2pd takes 128 tokens for a peer that reads none of them


@pytest.mark.usefixtures("victim")
def test_the_clients_own_p2pd_is_killed(network: Network) -> None:
    """In mid-answer: it goes on when the mesh is back, and is whole: nothing is lost or repeated."""
    others = set(_own_p2pds())
    story = [{"role": "user", "content": "Tell me a long story about a bear."}]
    with InferenceClient(network.url, api_key=network.api_key, state_dir=network.folder / "mortal-client") as client:
        with client.chat(messages=story, region="oceania", max_tokens=100, temperature=0, stream=True) as chunks:
            received = [next(chunks) for _ in range(5)]
            (own,) = set(_own_p2pds()) - others
            own.kill()
            received.extend(chunks)
            answer = chunks.result
        assert answer.ids == tuple(number for piece in received for number in piece.ids)
        assert (len(answer.ids), answer.finish_reason) == (100, "length")
        assert len(answer.route.segments) > 1
        assert client.chat(messages=story, region="oceania", max_tokens=2).receipt.verified


def test_what_the_clients_own_p2pd_leaves_is_no_answer(victim: Daemon, attacker: Attacker) -> None:
    """Below the client that goes on: the stream ends as a finished one does, and that is an error."""
    peer, granted = attacker.peer, attacker.peer.grant()
    story = {"messages": ({"role": "user", "content": "Tell me a long story about a wolf."},), "max_tokens": 500}
    work = peer.work(victim, peer.request(victim, granted.grant, params=story), granted.jti)
    work.read_until(lambda job: job.output.count >= 5)
    psutil.Process(peer.mesh._keeper.link.daemon.pid).kill()
    events = work.job.receive_data(peer._loop.run(_all_that_is_left(work.stream)), time.monotonic())
    events += work.job.receive_eof()
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, JobError)
    assert 5 <= work.job.output.count < 500


async def _all_that_is_left(raw: RawStream) -> bytes:
    data = b""
    async with asyncio.timeout(FRAME_DEADLINE_S):
        while more := await raw.stream.read():
            data += more
    return data


def _own_p2pds() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=False) if child.name() == "p2pd"]
