"""Mutated frames in the middle of a session: after a good request, to a node in memory."""

import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from gpunode_engines.base import Event, Finished, Segment
from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.framing import HEADER_BYTES
from gpunode_protocol.mesh.errors import PeerUnreachable
from gpunode_protocol.messages import (
    CancelFrame,
    DoneFrame,
    ErrorFrame,
    RequestFrame,
    SettledFrame,
    VoucherFrame,
    encode_frame,
)
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Envelope, Signed, signing_input
from gpunode_protocol.tasks import Task

from tests.acceptance.framing import framed
from tests.acceptance.test_attack_frames import mutated_payload
from tests.engines.fake_engine import FakeEngine
from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.job_client import JobClient, raw_frames
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, Node, llm_params, request, running_node

SEED = 20_240_608
AUDIO = Blob(id=1, media_type="audio/wav", data=bytes(2_000))
WRITTEN: tuple[Event, ...] = (
    Segment(start_ms=0, end_ms=900, text=" Hello"),
    Finished(reason="stop", prompt_tokens=0, output_tokens=0),
)
AT_ONE_NODE = 15
"""As many as one grant allows."""
COUNTS = [60, pytest.param(1_500, marks=[pytest.mark.full, pytest.mark.timeout(1_200)])]


def _asked(node: Node, **fields: Any) -> Signed[JobRequest]:
    """Return a request that is signed now."""
    now = int(node.services.unix_time())
    return request(issued_at=now, deadline_at=now + 1_000, **fields)


def _speech(node: Node) -> Signed[JobRequest]:
    ref = {
        "id": AUDIO.id,
        "size_bytes": len(AUDIO.data),
        "digest": blob_digest(b"s" * 32, AUDIO.data),
        "media_type": AUDIO.media_type,
    }
    return _asked(node, task=Task.WHISPER.value, params={"audio": ref, "max_audio_ms": 60_000})


def _chat(node: Node) -> Signed[JobRequest]:
    return _asked(node, params=llm_params(max_tokens=300))


def _signed_all_the_same(envelope: Envelope, generator: random.Random) -> Envelope:
    """Return a mutated voucher that its client has signed."""
    body = mutated_payload(envelope.body, generator)
    return Envelope(body=body, signature=CLIENT.sign_bytes(signing_input("voucher", body)))


def _frame(client: JobClient, generator: random.Random) -> bytes:
    """Return a frame such as a client sends after its request: mutated, mutated and then signed, or as it should be."""
    voucher = client.job.closing_voucher()
    if voucher is not None and not generator.randrange(3):
        return encode_frame(VoucherFrame(voucher=_signed_all_the_same(voucher.envelope, generator)))
    (blob,) = blob_frames(AUDIO, client.request.body.salt)
    originals: list[Any] = [blob, CancelFrame(reason="enough"), RequestFrame(request=client.request.envelope)]
    if voucher is not None:
        originals += [VoucherFrame(voucher=voucher.envelope)] * 3
    data = encode_frame(generator.choice(originals))
    return data if not generator.randrange(3) else framed(mutated_payload(data[HEADER_BYTES:], generator))


async def _session(node: Node, asked: Signed[JobRequest], generator: random.Random) -> str:
    """Ask, send a few such frames in the middle of the job, and return how the stream ended."""
    client, wanted = JobClient(node.connect(), asked), generator.randrange(200)
    if asked.body.task == Task.WHISPER:
        wanted = 0
    await client.run(until=lambda _: len(client.events) > wanted)
    try:
        for _ in range(generator.randint(1, 4)):
            await client.stream.write(_frame(client, generator))
    except PeerUnreachable:  # the node has closed it already, after an answer that is read below
        pass
    frames = await raw_frames(client.stream)
    assert frames, "the node closed the stream without a word"
    assert isinstance(frames[-1], DoneFrame | ErrorFrame | SettledFrame), frames[-1]
    return str(frames[-1].code) if isinstance(frames[-1], ErrorFrame) else type(frames[-1]).__name__


async def _sessions(folder: Path, engine: Any, count: int, make: Any) -> "Counter[str]":
    """Hold so many sessions, a grant's worth at each of many nodes; return how they ended."""
    generator, ends = random.Random(SEED), Counter[str]()
    for number in range(0, count, AT_ONE_NODE):
        place = folder / str(number)
        place.mkdir()
        async with running_node(place, engine()) as node:
            for _ in range(AT_ONE_NODE):
                ends[await _session(node, make(node), generator)] += 1
            inputs = (AUDIO,) if make is _speech else ()
            honest = await JobClient(node.connect(), make(node), inputs=inputs).run()
            assert honest.completed  # as if nothing had been
            assert await node.registry.wait_ended(600)
            for item in await node.unsettled():  # the last honest one, however many lies came after it
                assert open_voucher(item.item.voucher).body.client == CLIENT.peer_id
            inputs = (AUDIO,) if make is _speech else ()
            assert (
                await JobClient(node.connect(), make(node), inputs=inputs).run()
            ).completed  # as if nothing had been
    print(f"seed {SEED}", ends)  # noqa: T201 -- a failure must be repeatable
    return ends


@virtual_time
@pytest.mark.parametrize("count", COUNTS)
async def test_in_the_middle_of_a_chat(tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int) -> None:
    """Each stream ends with an answer or an error's code; no handler fails, and only what was signed is handed in."""
    ends = await _sessions(tmp_path, lambda: FakeEngine(answer="x" * 400, tokens_per_s=200), count, _chat)
    assert {"malformed", "bad_voucher", "unexpected_message"} <= set(ends)
    _check_log(caplog)


@virtual_time
@pytest.mark.parametrize("count", COUNTS)
async def test_in_the_middle_of_an_upload(tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int) -> None:
    """The same where files are awaited."""
    ends = await _sessions(tmp_path, lambda: FakeMediaEngine(Task.WHISPER, WRITTEN), count, _speech)
    assert {"malformed", "blob_invalid", "unexpected_message"} <= set(ends)
    _check_log(caplog)


def _check_log(caplog: pytest.LogCaptureFixture) -> None:
    """See that nothing failed for a reason that nobody foresaw."""
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
