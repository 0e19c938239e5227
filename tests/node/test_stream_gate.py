"""Streams, bytes and frames of a peer and of an address."""

import asyncio
import contextlib

import pytest
from gpunode_node.stream_gate import ADDRESS_SHARE, BYTES_BURST, BYTES_PER_S, FRAME_BYTES, StreamGate
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.identity import Identity

from tests.node.memory_stream import MemoryStream, stream_pair
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, OTHER


def stream_of(client: Identity, address: str = "/memory/1") -> MemoryStream:
    """Return a node's end of a client's stream."""
    _, ours = stream_pair(client.peer_id, OTHER.peer_id)
    ours.remote_address = address
    return ours


def test_a_peer_beyond_its_limit() -> None:
    """The limit is each peer's own, and a closed stream makes room."""
    gate = StreamGate(2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(gate.entered(stream_of(CLIENT)))
        with pytest.raises(JobError) as caught, gate.entered(stream_of(CLIENT)):
            pass
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.TOO_MANY_STREAMS, True)
        with gate.entered(stream_of(OTHER)):
            pass
    with gate.entered(stream_of(CLIENT)):
        pass


def test_an_address_beyond_its_limit() -> None:
    """Many peers of one address share its limit, those of another one do not."""
    gate = StreamGate(max_streams_per_address=2)
    peers = [Identity.from_seed(bytes([number]) * 32) for number in range(4)]
    with contextlib.ExitStack() as stack:
        for peer in peers[:2]:
            stack.enter_context(gate.entered(stream_of(peer, "/ip4/192.0.2.1/tcp/1")))
        with pytest.raises(JobError, match="of one address"), gate.entered(stream_of(peers[2], "/ip4/192.0.2.1/tcp/2")):
            pass
        with gate.entered(stream_of(peers[3], "/ip4/192.0.2.2/tcp/1")):
            pass
    assert not gate._open


@virtual_time
async def test_whoever_sends_too_much_is_read_from_more_slowly() -> None:
    """A burst is free; bytes and frames beyond it take their time, and others wait for nobody."""
    gate, loop = StreamGate(), asyncio.get_running_loop()
    began_s = loop.time()
    await gate.pace(stream_of(CLIENT), int(BYTES_BURST), 0)
    assert loop.time() == began_s
    await gate.pace(stream_of(CLIENT), int(BYTES_PER_S), 0)
    assert loop.time() == pytest.approx(began_s + 1)
    await gate.pace(stream_of(CLIENT), 0, int(BYTES_PER_S) // FRAME_BYTES)
    assert loop.time() == pytest.approx(began_s + 2)
    await gate.pace(stream_of(OTHER), int(BYTES_BURST), 0)
    assert loop.time() == pytest.approx(began_s + 2)


@virtual_time
async def test_peers_of_one_address_share_its_rate() -> None:
    """Ten of them cannot send ten times as much."""
    gate, loop = StreamGate(), asyncio.get_running_loop()
    began_s = loop.time()
    for number in range(int(ADDRESS_SHARE) + 1):
        peer = Identity.from_seed(bytes([number]) * 32)
        await gate.pace(stream_of(peer, "/ip4/192.0.2.1/tcp/1"), int(BYTES_BURST), 0)
    assert loop.time() == pytest.approx(began_s + BYTES_BURST / (ADDRESS_SHARE * BYTES_PER_S))
