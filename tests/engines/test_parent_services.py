"""What a parent does for a child, which is this process here; refused system calls: test_hostile_engines."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import seccompy.notify
from gpunode_engines.denials import Denials
from gpunode_engines.model_server import ModelServer
from gpunode_engines.parent_line import DENIALS, REQUEST, ParentLine
from gpunode_engines.parent_services import ParentServices
from seccompy import SeccompError


@contextmanager
def served(server: ModelServer | None = None) -> Iterator[socket.socket]:
    """Yield the child's end of a line that is served."""
    parents, childs = socket.socketpair()
    services = ParentServices(parents, Denials("m"), server)
    services.start(os.getpid())
    with childs:
        try:
            yield childs
        finally:
            services.close()
            services.close()
        assert childs.recv(1) == b""


def listener() -> socket.socket:
    """Return one on a free port of 127.0.0.1."""
    return socket.create_server(("127.0.0.1", 0))


def test_a_child_is_connected_to_its_own_listener() -> None:
    """As often as it asks."""
    with served() as sock, listener() as server:
        line = ParentLine(sock)
        for word in (b"one", b"two"):
            with line.connect(server.getsockname()[1]) as connection, server.accept()[0] as accepted:
                connection.sendall(word)
                assert accepted.recv(3) == word


def test_a_port_of_somebody_else_is_refused() -> None:
    """The parent is no way to reach other programs of this machine; the line works on."""
    with served() as sock, listener() as server:
        line = ParentLine(sock)
        with pytest.raises(ConnectionRefusedError):
            line.connect(1)
        line.connect(server.getsockname()[1]).close()


def test_refusals_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A child may ask without end; the log has the first, the 10th, the 100th and so on."""
    with served() as sock:
        line = ParentLine(sock)
        for _ in range(25):
            with pytest.raises(ConnectionRefusedError):
                line.connect_to_server()
    assert len(caplog.records) == 2
    assert "10 in all" in caplog.text


def test_the_first_port_is_the_only_one() -> None:
    """It is asked for while the model is loaded, before any job."""
    with served() as sock, listener() as first, listener() as second:
        line = ParentLine(sock)
        line.connect(first.getsockname()[1]).close()
        with pytest.raises(ConnectionRefusedError):
            line.connect(second.getsockname()[1])


def test_a_child_is_connected_to_its_models_server() -> None:
    """To no other, whatever the port that it names; without one, to none."""
    with listener() as server:
        address = ModelServer(host="127.0.0.1", port=server.getsockname()[1], path="", model="m")
        with served(address) as sock, ParentLine(sock).connect_to_server() as connection:
            assert connection.getpeername() == server.getsockname()
    with served() as sock, pytest.raises(ConnectionRefusedError, match="the server"):
        ParentLine(sock).connect_to_server()


@pytest.mark.parametrize("data", [REQUEST.pack(b"?", 0), REQUEST.pack(DENIALS, 0)])
def test_nonsense_is_ignored(data: bytes) -> None:
    """Unknown requests, and a listener that is announced and not sent."""
    with served() as sock, listener() as server:
        sock.sendall(data)
        ParentLine(sock).connect(server.getsockname()[1]).close()


def test_descriptors_that_nobody_asked_for_are_closed() -> None:
    """A child cannot fill its parent's table."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with served() as sock, listener() as server:
        for _ in range(20):
            socket.send_fds(sock, [REQUEST.pack(b"?", 0)], [sock.fileno()])
        ParentLine(sock).connect(server.getsockname()[1]).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_descriptor_that_is_no_listener_ends_the_services_only() -> None:
    """The child gets no answer any more; the parent goes on."""
    parents, childs = socket.socketpair()
    services = ParentServices(parents, Denials("m"))
    services.start(os.getpid())
    with childs:
        reading, writing = os.pipe()
        os.write(writing, b"x")
        socket.send_fds(childs, [REQUEST.pack(DENIALS, 0)], [reading])
        os.close(reading)
        os.close(writing)
        with listener() as server:
            ParentLine(childs).connect(server.getsockname()[1]).close()
        services.close()


def test_a_listener_is_not_read_when_everybody_who_could_call_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 6.11 would never come back from that, and the engine's end would be waited for as long."""
    read: list[int] = []

    class Listener:
        """Stands for a listener on such a kernel."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor

        def fileno(self) -> int:
            return self._descriptor

        def recv(self) -> None:
            read.append(self._descriptor)
            raise SeccompError(errno.EINTR, "it would have waited for ever")

        def close(self) -> None:
            os.close(self._descriptor)

    monkeypatch.setattr(seccompy.notify, "Listener", Listener)
    reading, writing = os.pipe()
    with served() as sock, listener() as server:
        socket.send_fds(sock, [REQUEST.pack(DENIALS, 0)], [reading])
        os.close(reading)
        os.close(writing)  # the kernel says POLLHUP and not POLLIN, as of a listener without processes
        ParentLine(sock).connect(server.getsockname()[1]).close()
    assert read == []
