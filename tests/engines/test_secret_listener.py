"""Connections that prove themselves, and strangers beside them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gpunode_engines import secret_listener
from gpunode_engines.secret_listener import SecretListener

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def listening(**settings: int) -> AsyncIterator[tuple[SecretListener, asyncio.Queue[Connection]]]:
    """A listener, and what it has accepted."""
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        accepted.put_nowait((reader, writer))

    listener = SecretListener(accept, **settings)
    await listener.open()
    try:
        yield listener, accepted
    finally:
        listener.close()
        listener.close()
        for writer in writers:
            writer.close()


async def connected(listener: SecretListener, words: bytes = b"") -> Connection:
    """Connect and say something."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(words)
    return reader, writer


async def is_closed(stranger: Connection) -> bool:
    """Whether the other side closes without a word."""
    try:
        return await stranger[0].read() == b""
    except ConnectionError:
        return True
    finally:
        stranger[1].close()


async def test_whoever_knows_the_secret_is_accepted() -> None:
    """What comes behind it is for whom it is accepted by."""
    async with listening() as (listener, accepted):
        _, writer = await connected(listener, listener.secret.encode() + b"\nhello\n")
        reader, _ = await accepted.get()
        assert await reader.readline() == b"hello\n"
        writer.close()


@pytest.mark.parametrize("words", [b"\n", b"0" * 64 + b"\n", b"\xff\n", b"x" * 200_000, b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_wrong_secret(words: bytes) -> None:
    """The connection is closed, and the next one has its chance."""
    async with listening() as (listener, accepted):
        assert await is_closed(await connected(listener, words))
        _, writer = await connected(listener, listener.secret.encode() + b"\n")
        await accepted.get()
        writer.close()


async def test_half_a_secret() -> None:
    """It is none, whatever follows."""
    async with listening() as (listener, accepted):
        reader, writer = await connected(listener, listener.secret[:63].encode())
        writer.write_eof()
        assert await is_closed((reader, writer))
        assert accepted.empty()


async def test_whoever_says_nothing_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that sends a byte now and then."""
    monkeypatch.setattr(secret_listener, "PROOF_TIMEOUT_S", 0.01)
    async with listening() as (listener, _):
        strangers = [await connected(listener, words) for words in (b"", b"a")]
        assert [await is_closed(stranger) for stranger in strangers] == [True, True]


async def test_strangers_do_not_hinder_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them say nothing: the oldest give way."""
    monkeypatch.setattr(secret_listener, "MAX_UNPROVEN", 8)
    async with listening() as (listener, accepted):
        strangers = [await connected(listener) for _ in range(8 + 3)]
        _, writer = await connected(listener, listener.secret.encode() + b"\n")
        await accepted.get()
        assert [await is_closed(stranger) for stranger in strangers[:3]] == [True, True, True]
        assert not strangers[-1][0].at_eof()
        for _, left in (*strangers[3:], (None, writer)):
            left.close()


async def test_the_end_closes_whoever_is_not_proven() -> None:
    """And nobody gets in any more."""
    async with listening() as (listener, accepted):
        stranger = await connected(listener)
        _, writer = await connected(listener, listener.secret.encode() + b"\n")
        await accepted.get()
        listener.close()
        assert await is_closed(stranger)
        with pytest.raises(OSError, match=r"refused|failed"):
            await connected(listener)
        writer.close()


async def test_each_listener_has_a_secret_of_its_own() -> None:
    """32 random bytes."""
    async with listening() as (one, _), listening() as (other, _):
        assert one.secret != other.secret
        assert len(bytes.fromhex(one.secret)) == 32


async def test_the_right_one_among_very_many_at_once() -> None:
    """It comes first and is the oldest, but what it says is read before others have displaced it."""
    async with listening() as (listener, accepted):
        address = ("127.0.0.1", listener.port)
        right = socket.create_connection(address)
        right.sendall(listener.secret.encode() + b"\n")
        strangers = [socket.socket() for _ in range(300)]
        for stranger in strangers:
            stranger.setblocking(False)
            stranger.connect_ex(address)
        await accepted.get()
        for connection in (right, *strangers):
            connection.close()


async def test_strangers_at_once_are_no_more_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that comes displaces another one, however many come in one turn of the loop."""
    monkeypatch.setattr(secret_listener, "MAX_UNPROVEN", 4)
    async with listening() as (listener, _):
        address = ("127.0.0.1", listener.port)
        strangers = [socket.create_connection(address) for _ in range(20)]  # none is accepted yet: the loop waits here
        loop = asyncio.get_running_loop()
        closed = 0
        for stranger in strangers[:-4]:
            stranger.setblocking(False)
            async with asyncio.timeout(secret_listener.PROOF_TIMEOUT_S / 2):
                closed += await loop.sock_recv(stranger, 1) == b""
        assert closed == 16
        for stranger in strangers:
            stranger.close()
