"""Frames that nobody would send: deeply nested ones, and thousands of mutated ones, against a running node."""

import asyncio
import random
from collections import Counter
from functools import partial

import msgpack
import pytest
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.framing import HEADER_BYTES, MAX_FRAME_BYTES, FrameParser
from gpunode_protocol.messages import (
    JOB_PROTOCOL,
    NODE_FRAMES,
    PROBE_PROTOCOL,
    PROBE_REPLY_FRAMES,
    AcceptedFrame,
    BlobFrame,
    CancelFrame,
    ErrorFrame,
    ProbeFrame,
    RequestFrame,
    VoucherFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.signing import Envelope

from tests.acceptance.attacker import MAX_GROWTH_BYTES, Attacker, Memory
from tests.acceptance.framing import framed
from tests.acceptance.network import is_idle, status_of
from tests.acceptance.processes import Daemon, wait_until
from tests.acceptance.raw_peer import RawPeer, RawStream

pytestmark = pytest.mark.acceptance

HIVEMIND_TUPLE = 0x40
"""The extension type by which hivemind encodes a tuple: its decoder recurses in C."""
SEED = 20_240_607
AT_ONCE = 6
ANSWER_DEADLINE_S = 30.0
JOBS_OF_A_PEER = 24
NOT_AWAITED = "not awaited"
"""Frames whose rest is missing: for those the node rightly waits."""


def nested_tuples(levels: int) -> bytes:
    """Return tuples in tuples as hivemind's encoder would write them."""
    value = b"\xc0"
    for _ in range(levels):
        value = msgpack.packb(msgpack.ExtType(HIVEMIND_TUPLE, b"\x91" + value))
    return value


@pytest.mark.parametrize("protocol", [JOB_PROTOCOL, PROBE_PROTOCOL])
def test_four_hundred_nested_tuples(victim: Daemon, attacker: Attacker, protocol: str) -> None:
    """They are malformed, not the end of the process."""
    attacker.flood(victim, protocol, 1, framed(nested_tuples(400)))
    (answer,) = attacker.answers()
    assert _code(answer, protocol) == "malformed"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=[pytest.mark.full, pytest.mark.timeout(3_600)])])
def test_mutated_frames(victim: Daemon, attacker: Attacker, raw_peer: RawPeer, count: int) -> None:
    """Whatever comes is answered with an error or closed; the processes live, and their memory is flat."""
    generator = random.Random(SEED)
    print(f"seed {SEED}, {count} frames")  # noqa: T201 -- a failure must be repeatable
    originals = _originals(victim, attacker)
    pid, restarts = status_of(victim)["pid"], status_of(victim)["mesh"]["restarts"]
    _send(attacker, victim, originals, generator, count // 10)  # what is allocated once, such as caches
    memory = Memory.of(victim)
    codes = _send(attacker, victim, originals, generator, count)
    print(codes)  # noqa: T201 -- shows what the mutations reach
    assert codes[NOT_AWAITED] < count / 4  # whole frames are answered or closed, each within the deadline
    assert {"malformed", "unexpected_message", "frame_too_long"} <= set(codes)
    assert memory.growth_bytes() < MAX_GROWTH_BYTES / 5
    assert raw_peer.complete(victim).receipt
    assert (status_of(victim)["pid"], status_of(victim)["mesh"]["restarts"]) == (pid, restarts)


@pytest.mark.parametrize("count", [24, pytest.param(2_000, marks=[pytest.mark.full, pytest.mark.timeout(3_600)])])
def test_mutated_frames_in_the_middle_of_a_job(
    victim: Daemon, attacker: Attacker, raw_peer: RawPeer, count: int
) -> None:
    """After a good request: its answer or an error ends the stream; the node lives and owes nothing afterwards."""
    generator, codes, peer = random.Random(SEED), Counter[str](), attacker.peer
    print(f"seed {SEED}, {count} jobs")  # noqa: T201 -- a failure must be repeatable
    pid, restarts = status_of(victim)["pid"], status_of(victim)["mesh"]["restarts"]
    later = [frame for protocol, frame in _originals(victim, attacker) if protocol == JOB_PROTOCOL]
    for number in range(count):
        if number % JOBS_OF_A_PEER == 0:  # so many may be unsettled
            wait_until(lambda: is_idle(victim), "the node has ended the jobs before")
            granted = peer.grant(jobs=JOBS_OF_A_PEER)
        wait_until(lambda: not status_of(victim)["models"][0]["queued"], "the node has room for a job")
        request = encode_frame(RequestFrame(request=peer.request(victim, granted.grant).envelope))
        stream = wait_until(partial(_accepted, peer, victim, request), "the node takes one more job of the peer")
        stream.send(b"".join(_half_mutated(frame, generator) for frame in generator.sample(later, 2)))
        last = stream.to_the_end()[-1]
        codes[getattr(last, "code", type(last).__name__)] += 1
        peer.close_streams()
    print(codes)  # noqa: T201 -- shows what the mutations reach
    assert set(codes) <= {code.value for code in ErrorCode} | {"DoneFrame"}
    assert {"malformed", "unexpected_message"} <= set(codes)
    assert raw_peer.complete(victim).receipt
    wait_until(lambda: is_idle(victim), "the node is idle")
    assert (status_of(victim)["pid"], status_of(victim)["mesh"]["restarts"]) == (pid, restarts)


def _accepted(peer: RawPeer, victim: Daemon, request: bytes) -> RawStream | None:
    """Return a job's stream, None where too many jobs of the peer still wait for their final voucher."""
    stream = peer.send(victim, request)
    first = stream.next()
    if isinstance(first, ErrorFrame) and first.code == ErrorCode.BUSY:
        peer.close_streams()
        return None
    assert isinstance(first, AcceptedFrame), first
    return stream


def _half_mutated(frame: bytes, generator: random.Random) -> bytes:
    """Return the frame as it is, or mutated behind a true header."""
    return frame if generator.randrange(2) else framed(mutated_payload(frame[HEADER_BYTES:], generator))


def _originals(victim: Daemon, attacker: Attacker) -> list[tuple[str, bytes]]:
    """Return honest frames and the protocols over which they go."""
    request = attacker.peer.request(victim, attacker.peer.grant().grant)
    blob = BlobFrame(id=0, media_type="image/png", total_bytes=64, offset=0, digest=bytes(32), data=bytes(64))
    return [
        (JOB_PROTOCOL, encode_frame(RequestFrame(request=request.envelope))),
        (JOB_PROTOCOL, encode_frame(VoucherFrame(voucher=Envelope(body=request.envelope.body, signature=bytes(64))))),
        (JOB_PROTOCOL, encode_frame(CancelFrame())),
        (JOB_PROTOCOL, encode_frame(blob)),
        (PROBE_PROTOCOL, encode_frame(ProbeFrame(nonce=bytes(16), model="smollm2-135m"))),
    ]


def _mutated(frame: bytes, generator: random.Random) -> bytes:
    """Return a mutated frame; its header tells the truth nine times of ten."""
    payload = mutated_payload(frame[HEADER_BYTES:], generator)
    length = None if generator.randrange(10) else generator.randrange(2**32)
    return framed(payload, length=length)


def mutated_payload(original: bytes, generator: random.Random) -> bytes:
    """Change, insert, drop or repeat a few bytes."""
    payload = bytearray(original)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(payload) + 1)
        match generator.randrange(4):
            case 0:
                payload[at : at + 1] = bytes([generator.randrange(256)])
            case 1:
                payload[at:at] = generator.randbytes(generator.randint(1, 8))
            case 2:
                del payload[at : at + generator.randint(1, 16)]
            case _:
                payload[at:at] = payload[max(0, at - 32) : at]
    return bytes(payload)


def _send(
    attacker: Attacker, victim: Daemon, originals: list[tuple[str, bytes]], generator: random.Random, count: int
) -> "Counter[str]":
    """Send so many mutated frames, a stream each; count what came back."""
    peer_id, codes = attacker.dial(victim), Counter[str]()
    frames = (
        (protocol, _mutated(frame, generator)) for protocol, frame in iter(lambda: generator.choice(originals), 0)
    )
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            protocol, frame = next(frames)
            _, reader, writer = await attacker.mesh._keeper.link.p2p.open(peer_id, protocol, ANSWER_DEADLINE_S)
            writer.write(frame)
            codes[_code(await _answer(reader, frame), protocol)] += 1
            writer.transport.abort()

    async def everything() -> None:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    attacker.loop.run(everything())
    return codes


async def _answer(reader: asyncio.StreamReader, frame: bytes) -> bytes | None:
    """Return the first bytes that come; None without a look for a frame whose rest is missing."""
    if len(frame) < HEADER_BYTES + int.from_bytes(frame[:HEADER_BYTES], "big") <= HEADER_BYTES + MAX_FRAME_BYTES:
        return None
    return await asyncio.wait_for(reader.read(65_536), ANSWER_DEADLINE_S)


def _code(answer: bytes | None, protocol: str) -> str:
    """Return an error's code, another frame's type, or that there was none."""
    if answer is None:
        return NOT_AWAITED
    types = NODE_FRAMES if protocol == JOB_PROTOCOL else PROBE_REPLY_FRAMES
    for payload in FrameParser().feed(answer):
        frame = decode_frame(payload, types)
        code: str = getattr(frame, "code", type(frame).__name__)
        return code
    return "closed"
