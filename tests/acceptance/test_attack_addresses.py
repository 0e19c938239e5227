"""Many peers of one address against a running node: what they may have together is limited too."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gpunode_node.stream_gate import MAX_STREAMS_PER_ADDRESS
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.messages import JOB_PROTOCOL, NODE_FRAMES, ErrorFrame, decode_frame
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

from tests.acceptance.attacker import Attacker
from tests.acceptance.network import Network, is_idle
from tests.acceptance.processes import Daemon, wait_until
from tests.acceptance.raw_peer import RawPeer

pytestmark = [pytest.mark.acceptance, pytest.mark.full, pytest.mark.timeout(300)]

PEERS = MAX_STREAMS_PER_ADDRESS // MAX_STREAMS_PER_PEER + 4
"""Each with as many streams as a peer may have: 288 together, and a p2pd each."""


@pytest.fixture
def crowd(network: Network) -> Iterator[list[Attacker]]:
    """Return peers that all come from 127.0.0.1."""
    with ExitStack() as stack:
        peers = []
        for _ in range(PEERS):
            peer = Attacker(network, Path(tempfile.mkdtemp(prefix="crowd-", dir=network.folder)))
            stack.callback(peer.stop)
            peers.append(peer)
        yield peers


def test_an_address_has_no_more_job_streams_than_it_may(
    victim: Daemon, crowd: list[Attacker], raw_peer: RawPeer
) -> None:
    """No peer has too many, but all together: the last are refused, and told so; later the address is served again."""
    wait_until(lambda: is_idle(victim), "the node is idle")
    dialled = [(peer, peer.dial(victim)) for peer in crowd]

    async def open_all() -> None:
        await asyncio.gather(
            *(peer._flood.open(victim_id, JOB_PROTOCOL, MAX_STREAMS_PER_PEER) for peer, victim_id in dialled)
        )

    crowd[0].loop.run(open_all())
    assert sum(len(peer.opened) for peer in crowd) == PEERS * MAX_STREAMS_PER_PEER
    codes = Counter(_code(answer) for peer in crowd for answer in peer.answers())
    assert codes["too_many_streams"] == PEERS * MAX_STREAMS_PER_PEER - MAX_STREAMS_PER_ADDRESS
    assert codes["first_frame_timeout"] == MAX_STREAMS_PER_ADDRESS
    assert raw_peer.complete(victim).receipt


def _code(answer: bytes) -> str:
    (payload,) = FrameParser().feed(answer)
    frame = decode_frame(payload, NODE_FRAMES)
    assert isinstance(frame, ErrorFrame)
    return str(frame.code)
