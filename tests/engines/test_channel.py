import asyncio
import socket
import struct

import pytest
from gpunode_engines.channel import ChildChannel, ParentChannel
from gpunode_engines.ipc import MAX_CHILD_FRAME_BYTES, MAX_PARENT_FRAME_BYTES, Cancel, Ping, Pong
from gpunode_protocol.errors import FrameTooLong, MalformedMessage


async def test_messages_pass_both_ways() -> None:
    """What one end sends, the other receives, in order."""
    ours, theirs = socket.socketpair()
    with theirs:
        parent, child = await ParentChannel.open(ours), ChildChannel(theirs)
        await parent.send(Ping())
        parent.post(Cancel(job_key="a"))
        assert [await asyncio.to_thread(child.receive) for _ in range(2)] == [Ping(), Cancel(job_key="a")]
        child.send(Pong())
        assert await parent.receive() == Pong()
        await parent.close()
        assert child.receive() is None


async def test_a_huge_length_is_refused_before_reading() -> None:
    """A bogus header costs no memory."""
    ours, theirs = socket.socketpair()
    with theirs:
        parent = await ParentChannel.open(ours)
        theirs.sendall(struct.pack(">I", MAX_CHILD_FRAME_BYTES + 1))
        with pytest.raises(FrameTooLong):
            await parent.receive()
        await parent.close()


async def test_garbage_is_an_error_not_a_crash() -> None:
    """The child is not trusted."""
    ours, theirs = socket.socketpair()
    with theirs:
        parent = await ParentChannel.open(ours)
        theirs.sendall(struct.pack(">I", 3) + b"\xc1\xc1\xc1")
        with pytest.raises(MalformedMessage):
            await parent.receive()
        await parent.close()


async def test_a_lost_child_ends_the_stream() -> None:
    """Half a frame is no message."""
    ours, theirs = socket.socketpair()
    parent = await ParentChannel.open(ours)
    theirs.sendall(struct.pack(">I", 3) + b"\x80")
    theirs.close()
    with pytest.raises(EOFError):
        await parent.receive()
    await parent.close()


async def test_too_large_a_message_is_not_sent() -> None:
    """The cap holds in both directions."""
    ours, theirs = socket.socketpair()
    with theirs:
        parent = await ParentChannel.open(ours)
        with pytest.raises(FrameTooLong):
            await parent.send(Cancel(job_key="x" * MAX_PARENT_FRAME_BYTES))
        await parent.close()


def test_a_reset_is_the_parents_end() -> None:
    """Over TCP a parent that is killed while it has not read all leaves no orderly end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        parents, _ = server.accept()
    with sock:
        parents.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        parents.close()
        assert ChildChannel(sock).receive() is None


def test_half_a_frame_from_the_parent_is_its_end() -> None:
    """A parent that died while it wrote is gone."""
    ours, theirs = socket.socketpair()
    with theirs:
        child = ChildChannel(theirs)
        ours.sendall(struct.pack(">I", 100) + b"\x80")
        ours.close()
        assert child.receive() is None
