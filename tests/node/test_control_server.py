"""The control socket, from both of its ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from gpunode_node.control_client import ask_daemon
from gpunode_node.control_server import ControlServer
from gpunode_node.control_transport import LoopbackTransport
from gpunode_node.errors import ControlRefused, StateUnwritable, TrackerUnreachable


async def _echo(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"got": dict(arguments)}


async def _refuse(_: Mapping[str, Any]) -> dict[str, Any]:
    raise TrackerUnreachable("The tracker is down.")


async def _fail(_: Mapping[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("secret detail")


@contextlib.asynccontextmanager
async def _server(path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, {"echo": _echo, "refuse": _refuse, "fail": _fail})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_question_and_answer(tmp_path: Path) -> None:
    """Arguments go in, the result comes back; the socket is its owner's and goes away."""
    path = tmp_path / "c.sock"
    path.write_text("left over")
    async with _server(path) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        assert await asyncio.to_thread(ask_daemon, path, "echo", {"a": 1}) == {"got": {"a": 1}}
        await server.stop()
        assert not path.exists()


async def test_a_platform_without_such_sockets(tmp_path: Path) -> None:
    """The same over loopback: the file says where, and only who can read it is answered."""
    path, transport = tmp_path / "c.sock", LoopbackTransport()
    server = ControlServer(path, {"echo": _echo}, transport)
    await server.start()
    assert path.stat().st_mode & 0o777 == 0o600
    answer = await asyncio.to_thread(ask_daemon, path, "echo", {"a": 1}, transport=transport)
    assert answer == {"got": {"a": 1}}
    await server.stop()
    assert not path.exists()


async def test_errors(tmp_path: Path) -> None:
    """User messages pass, bugs stay in the log, and unknown commands are told the known ones."""
    path = tmp_path / "c.sock"
    async with _server(path):
        for command, words in (("refuse", "tracker is down"), ("fail", "log says why"), ("dance", "echo, refuse")):
            with pytest.raises(ControlRefused, match=words):
                await asyncio.to_thread(ask_daemon, path, command)


async def test_nonsense_on_the_socket(tmp_path: Path) -> None:
    """A line that is no request is answered, and an endless one ends the connection."""
    path = tmp_path / "c.sock"
    async with _server(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        for line in (b"[1]\n", b"[" * 50_000 + b"\n"):
            writer.write(line)
            assert b"each as one JSON line" in await reader.readline()
        writer.write(b"x" * 300_000 + b"\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(StateUnwritable, match=r"nowhere"):
        await ControlServer(tmp_path / "nowhere" / "c.sock", {}).start()
