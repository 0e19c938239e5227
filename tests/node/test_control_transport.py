"""Listening and connecting, on every platform's way."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from gpunode_node.control_transport import LoopbackTransport, UnixTransport, control_transport
from gpunode_node.errors import StateUnwritable


def _refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_only_who_knows_the_secret_gets_through(tmp_path: Path) -> None:
    """A stranger on loopback is cut off without an answer; the file's reader is accepted."""
    path, accepted = tmp_path / "c.sock", asyncio.Event()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        writer.close()

    server = await LoopbackTransport().listen(path, accept)
    port = json.loads(path.read_text())["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"0" * 64 + b"\n")
    assert await reader.read() == b""
    writer.close()
    assert not accepted.is_set()
    with await asyncio.to_thread(LoopbackTransport().connect, path, 5.0):
        await accepted.wait()
    server.close()


@pytest.mark.parametrize("content", ["", "[]", '{"port": 1}', '{"port": "x", "secret": "y"}'])
def test_a_file_that_names_no_port(tmp_path: Path, content: str) -> None:
    """Nobody listens there."""
    (tmp_path / "c.sock").write_text(content)
    with pytest.raises(ValueError, match=r"names no port|invalid literal"):
        LoopbackTransport().connect(tmp_path / "c.sock", 5.0)


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing listens then."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable, match=r"c\.sock"):
        await LoopbackTransport().listen(tmp_path / "file" / "c.sock", _refuse)


def test_the_platforms_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unix sockets, except on Windows, where asyncio has none."""
    assert isinstance(control_transport(), UnixTransport)
    monkeypatch.setattr(sys, "platform", "win32")
    assert isinstance(control_transport(), LoopbackTransport)
