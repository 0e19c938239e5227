import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.dialback import BANNER, DialbackService, answers_as_libp2p, ask, judge
from gpunode_protocol.mesh.interface import Reachability
from gpunode_protocol.mesh.multiaddrs import are_loopback
from gpunode_protocol.safe_msgpack import pack, unpack

from tests.acceptance.test_attack_frames import mutated_payload


class PipeStream:
    """One end of an in-memory stream."""

    def __init__(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamReader, address: str) -> None:
        self.remote_peer_id = PeerId("12D3KooWOther")
        self.remote_address = address
        self.unsent_bytes = 0
        self._incoming, self._outgoing = incoming, outgoing

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Read what the other end wrote."""
        return await self._incoming.read(max_bytes)

    async def write(self, data: bytes) -> None:
        """Feed the other end."""
        self._outgoing.feed_data(data)

    async def close(self) -> None:
        """End the stream."""
        self.abort()

    def abort(self) -> None:
        """End the stream."""
        self._outgoing.feed_eof()


def pipe(address: str = "/ip4/127.0.0.1/tcp/50000") -> tuple[PipeStream, PipeStream]:
    """Return the asker's and the observer's end; the observer sees the asker at ``address``."""
    there, back = asyncio.StreamReader(), asyncio.StreamReader()
    return PipeStream(back, there, ""), PipeStream(there, back, address)


@pytest.fixture
async def banner_port() -> AsyncIterator[int]:
    """A port at which something greets like libp2p."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def mute_port() -> AsyncIterator[int]:
    """A port at which something else answers."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def conversation(port: int, address: str = "/ip4/127.0.0.1/tcp/50000") -> tuple[bool, str]:
    """Return what an asker learns from an observer."""
    asker, observer = pipe(address)
    answer, _ = await asyncio.gather(ask(asker, port), DialbackService(lambda: 0.0).serve(observer))
    return answer


async def test_listening_peer_is_reachable(banner_port: int) -> None:
    """The observer connects to the address that it sees and the port that it was told."""
    assert await conversation(banner_port) == (True, "127.0.0.1")


async def test_other_service_is_not_libp2p(mute_port: int) -> None:
    """An open port of something else does not count."""
    assert await conversation(mute_port) == (False, "127.0.0.1")


async def test_relayed_asker_is_not_dialled(banner_port: int) -> None:
    """Through a relay the observer sees no address of the asker, and connects to nobody."""
    assert await conversation(banner_port, "/ip4/127.0.0.1/tcp/1/p2p/x/p2p-circuit") == (False, "")


async def test_closed_port_does_not_answer(unused_port: int) -> None:
    """A refused connection is an answer, not an error."""
    assert not await answers_as_libp2p("127.0.0.1", unused_port)


@pytest.fixture
async def unused_port() -> int:
    """A port at which nothing listens any more."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize(
    "request_body",
    [{"port": 0, "nonce": b"n"}, {"port": 65536, "nonce": b"n"}, {"port": "22", "nonce": b"n"}, {"port": 22}, [1]],
)
async def test_bad_request_gets_no_answer(request_body: Any) -> None:
    """What is no request is not answered, and dials nobody."""
    asker, observer = pipe()
    data = pack(request_body)
    await asker.write(len(data).to_bytes(4, "big") + data)
    await DialbackService(lambda: 0.0).serve(observer)
    observer.abort()
    assert await asker.read() == b""


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0"])
async def test_garbage_gets_no_answer(data: bytes) -> None:
    """A bogus length costs no memory."""
    asker, observer = pipe()
    await asker.write(data)
    asker.abort()
    await DialbackService(lambda: 0.0).serve(observer)
    observer.abort()
    assert await asker.read() == b""


async def test_peer_cannot_ask_for_ever(banner_port: int) -> None:
    """Three requests at once, then no answer."""
    service = DialbackService(lambda: 0.0)
    for _ in range(3):
        asker, observer = pipe()
        await asyncio.gather(ask(asker, banner_port), service.serve(observer))
    asker, observer = pipe()
    await service.serve(observer)
    observer.abort()
    with pytest.raises(MalformedMessage):
        await ask(asker, banner_port)


async def test_answer_to_another_request_is_refused() -> None:
    """The nonce ties the answer to the request."""
    asker, observer = pipe()
    data = pack({"nonce": b"other", "reachable": True, "observed": "192.0.2.1"})
    await observer.write(len(data).to_bytes(4, "big") + data)
    with pytest.raises(MalformedMessage):
        await ask(asker, 4001)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], Reachability(reachable=None)),
        ([(True, "a"), (True, "a"), (False, "b")], Reachability(reachable=True, observed_ips=("a", "b"), answers=3)),
        ([(True, "a"), (False, "")], Reachability(reachable=False, observed_ips=("a",), answers=2)),
    ],
)
def test_majority_decides(answers: list[tuple[bool, str]], expected: Reachability) -> None:
    """One lying observer among three changes nothing."""
    assert judge(answers) == expected


@pytest.mark.parametrize(
    ("answers", "reachable"),
    [
        ([(False, "10.0.0.7")], None),
        ([(False, "10.0.0.7"), (True, "127.0.0.1")], True),
        ([(False, "10.0.0.7"), (True, "::1")], True),
        ([(False, "127.0.0.1")], False),
        ([(False, "")], False),
    ],
)
def test_a_node_on_loopback_only(answers: list[tuple[bool, str]], reachable: bool | None) -> None:
    """Peers on the same machine may see it at another address, where it does not listen: that says nothing."""
    assert judge(answers, loopback_only=True).reachable is reachable


@pytest.mark.parametrize(
    ("addresses", "only"),
    [
        (["/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1"], True),
        (["/ip6/::1/tcp/4001"], True),
        (["/ip4/127.0.0.1/tcp/4001", "/ip4/10.0.0.7/tcp/4001"], False),
        (["/dns4/node.example/tcp/4001"], False),
        ([], False),
    ],
)
def test_who_listens_on_loopback_only(addresses: list[str], only: bool) -> None:
    """Every address counts."""
    assert are_loopback(addresses) is only


async def test_mutated_requests() -> None:
    """Each gets the answer that the protocol has, or none."""
    generator, answered = random.Random(1), 0
    for _ in range(1_000):
        payload = mutated_payload(pack({"nonce": b"n" * 16, "port": 1}), generator)
        asker, observer = pipe()
        await asker.write(len(payload).to_bytes(4, "big") + payload)
        asker.abort()
        await DialbackService(lambda: 0.0).serve(observer)
        observer.abort()
        if answer := await asker.read():
            assert unpack(answer[4:]).keys() == {"nonce", "observed", "reachable"}
            answered += 1
    assert 50 < answered < 950
