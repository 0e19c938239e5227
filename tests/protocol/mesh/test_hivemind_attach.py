import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshUnavailable, PeerUnreachable, _hivemind_attach
from gpunode_protocol.mesh._hivemind_api import PeerID, p2pd_pb2, read_pbmsg_safe
from gpunode_protocol.mesh._hivemind_attach import AttachedP2P, framed
from gpunode_protocol.mesh.errors import StreamDropped
from gpunode_protocol.mesh.runtime_dir import RuntimeDir, default_parents

PEER = PeerID.from_base58(Identity.from_seed(bytes(32)).peer_id)
Answer = Callable[[Any], Awaitable[Any]]
OK = {"type": p2pd_pb2.Response.OK}


class FakeDaemon:
    """Answers control requests: attaching as p2pd does, everything else as the test says."""

    def __init__(self) -> None:
        self.response: dict[str, Any] | None = OK
        self.requests: list[Any] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; None = hang up, as a daemon that dies."""
        request = p2pd_pb2.Request()
        try:
            await read_pbmsg_safe(reader, request)
            self.requests.append(request)
            if request.type == p2pd_pb2.Request.PERSISTENT_CONN_UPGRADE:
                writer.write(framed(p2pd_pb2.Response(**OK)))
                await reader.read()  # until the client goes
            elif request.type == p2pd_pb2.Request.IDENTIFY:
                writer.write(framed(p2pd_pb2.Response(**OK, identify={"id": PEER.to_bytes(), "addrs": []})))
            elif self.response == {}:
                await reader.read()  # no answer: until the caller gives up
            elif self.response is not None:
                writer.write(framed(p2pd_pb2.Response(**self.response)))
        finally:
            writer.close()


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory with a short path."""
    directory = RuntimeDir.create(default_parents(None))
    yield directory.path
    directory.remove()


@pytest.fixture
async def daemon(sockets: Path) -> AsyncIterator[FakeDaemon]:
    """A fake daemon at d.sock."""
    daemon = FakeDaemon()
    async with AsyncExitStack() as stack:
        server = await asyncio.start_unix_server(daemon.serve, path=str(sockets / "d.sock"))
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        yield daemon


@pytest.fixture
async def attached(daemon: FakeDaemon, sockets: Path) -> AsyncIterator[AttachedP2P]:
    """The attachment to the fake daemon."""
    assert daemon.requests == []
    p2p = await AttachedP2P.attach(sockets / "d.sock", sockets / "c.sock", max_message_bytes=1024)
    yield p2p
    await p2p.detach()


async def test_daemon_that_is_not_there_is_unavailable(sockets: Path) -> None:
    """A missing socket is an error of ours, not an OSError of somebody's."""
    with pytest.raises(MeshUnavailable):
        await AttachedP2P.attach(sockets / "none.sock", sockets / "c.sock", max_message_bytes=1024)


async def test_daemon_that_hangs_costs_the_deadline_only(daemon: FakeDaemon, attached: AttachedP2P) -> None:
    """hivemind would wait for ever."""
    daemon.response = {}
    with pytest.raises(PeerUnreachable, match=r"0\.1 s"):
        await attached.open(PEER, "/test", 0.1)


async def test_daemon_that_dies_in_a_call_is_a_dropped_stream(daemon: FakeDaemon, attached: AttachedP2P) -> None:
    """The caller may try again with the next daemon."""
    daemon.response = None
    with pytest.raises(StreamDropped):
        await attached.peers()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("failed to dial: no addresses", PeerUnreachable),
        ("failed to open stream: stream reset", StreamDropped),
        ("failed to negotiate protocol: EOF", StreamDropped),
    ],
)
async def test_libp2ps_reason_reaches_the_caller(
    daemon: FakeDaemon, attached: AttachedP2P, message: str, expected: type[PeerUnreachable]
) -> None:
    """Only a stream that was dropped on the way is worth another attempt."""
    daemon.response = {"type": p2pd_pb2.Response.ERROR, "error": {"msg": message}}
    with pytest.raises(PeerUnreachable, match=message) as failure:
        await attached.open(PEER, "/test", 5)
    assert type(failure.value) is expected


async def test_daemon_is_told_the_time_limit(daemon: FakeDaemon, attached: AttachedP2P) -> None:
    """Otherwise p2pd goes on dialling for a minute after the caller has given up."""
    await attached.dial(PEER, ["/ip4/192.0.2.1/tcp/4001"], 2.5)
    assert daemon.requests[-1].connect.timeout == 3


async def test_unreadable_address_is_unreachable(attached: AttachedP2P) -> None:
    """An advert may hold anything."""
    with pytest.raises(PeerUnreachable, match="cannot be read"):
        await attached.dial(PEER, ["/nonsense"], 1)


async def test_unknown_kinds_of_addresses_are_left_out(daemon: FakeDaemon, attached: AttachedP2P) -> None:
    """p2pd knows more protocols than hivemind's parser."""
    daemon.response = {**OK, "peers": [{"id": PEER.to_bytes(), "addrs": [b"\xff\xff\xff", b"\x04\x7f\0\0\1\x06\0\1"]}]}
    assert await attached.peers() == [(PEER, ""), (PEER, "/ip4/127.0.0.1/tcp/1")]


async def test_calls_under_way_fail_when_the_daemon_goes(attached: AttachedP2P) -> None:
    """A unary call must not wait for a reply that cannot come."""
    call = asyncio.ensure_future(attached._client.call_unary_handler(PEER, "/test", b""))
    await asyncio.sleep(0)  # the call registers itself
    await attached.detach()
    with pytest.raises(_hivemind_attach.P2PDaemonError, match="gone"):
        await asyncio.wait_for(call, 5)


async def test_finished_calls_are_forgotten(attached: AttachedP2P) -> None:
    """hivemind keeps a task for every call that its caller cancelled."""
    done = asyncio.ensure_future(asyncio.sleep(0))
    running = asyncio.ensure_future(asyncio.Event().wait())
    await done
    attached._control._handler_tasks.update({"done": done, "running": running})
    attached.forget_finished_calls()
    assert set(attached._control._handler_tasks) == {"running"}
