import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gpunode_benchmarks.flood_streams import StoresNothing, StreamFlood
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.mesh import MeshConfig, RecordRejected, create_mesh
from gpunode_protocol.messages import JOB_PROTOCOL, NODE_FRAMES, ErrorFrame, decode_frame

TOO_LONG = b"\xff\xff\xff\xff"


@pytest_asyncio.fixture
async def stream_flood(overhead: OverheadNetwork) -> AsyncIterator[StreamFlood]:
    """A fresh peer that floods."""
    folder = overhead.folder / f"f{time.monotonic_ns()}"
    folder.mkdir()
    config = MeshConfig(
        identity_path=folder / "identity.key", state_dir=folder, listen_addresses=(), client_mode=True, quic=False
    )
    mesh = create_mesh(config, StoresNothing())
    try:
        await mesh.start()
        yield StreamFlood(mesh)
    finally:
        await mesh.stop()


@pytest.mark.full
async def test_streams_are_held_and_let_go(overhead: OverheadNetwork, stream_flood: StreamFlood) -> None:
    """Payloads go out in turn, an empty one is silence: that stream alone has no answer yet."""
    peer = await stream_flood.dial(overhead.run["peer_id"], overhead.run["addresses"])
    await stream_flood.open(peer, JOB_PROTOCOL, 4, (TOO_LONG, b""))
    assert (len(stream_flood.opened), stream_flood.refused) == (4, 0)
    answers = await stream_flood.answers(5.0)
    said = [answer for answer in answers if answer]
    assert (len(said), answers.count(None)) == (2, 2)
    for answer in said:
        (payload,) = FrameParser().feed(answer)
        frame = decode_frame(payload, NODE_FRAMES)
        assert isinstance(frame, ErrorFrame)
        assert frame.code == "frame_too_long"
    stream_flood.let_go()
    assert stream_flood.opened == []


async def test_what_cannot_be_opened_is_counted(overhead: OverheadNetwork, stream_flood: StreamFlood) -> None:
    """A protocol that nobody serves, and a limit of time that has passed."""
    peer = await stream_flood.dial(overhead.run["peer_id"], overhead.run["addresses"])
    await stream_flood.open(peer, "/gpunode-test/1/nobody", 2)
    assert (stream_flood.opened, stream_flood.refused) == ([], 2)
    await stream_flood.open(peer, JOB_PROTOCOL, 3, limit_s=0.0)
    assert (stream_flood.opened, stream_flood.refused) == ([], 5)


def test_a_peer_that_only_floods_keeps_no_records() -> None:
    """It is no replica of anybody."""
    with pytest.raises(RecordRejected):
        StoresNothing().validate("key", "subkey", b"", 1.0, 0.0)
