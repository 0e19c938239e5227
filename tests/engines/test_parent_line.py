"""The child's questions to its parent; the parent's side: test_parent_services."""

import os
import socket

import pytest
from gpunode_engines import parent_line
from gpunode_engines.parent_line import CONNECT, DENIALS, GRANTED, REFUSED, REQUEST, ParentLine


@pytest.fixture(autouse=True)
def _no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent_line, "_ways", [])


def test_a_connection_comes_as_a_descriptor() -> None:
    """The request names the port; what comes back is used as any socket."""
    ours, parents = socket.socketpair()
    theirs, far_end = socket.socketpair()
    with ours, parents, far_end:
        with theirs:
            socket.send_fds(parents, [GRANTED], [theirs.fileno()])
        parent_line.use_connections(ParentLine(ours))
        with parent_line.connect(4711) as connection:
            connection.sendall(b"hello")
        assert far_end.recv(5) == b"hello"
        assert REQUEST.unpack(parents.recv(REQUEST.size)) == (CONNECT, 4711)


def test_a_refusal() -> None:
    """It is an OSError, as that of any connection."""
    ours, parents = socket.socketpair()
    with ours, parents:
        parents.sendall(REFUSED)
        with pytest.raises(ConnectionRefusedError, match="4711"):
            ParentLine(ours).connect(4711)


def test_a_parent_that_is_gone() -> None:
    """So is that."""
    ours, parents = socket.socketpair()
    with ours:
        parents.close()
        with pytest.raises(OSError, match="Broken pipe"):
            ParentLine(ours).connect(4711)
    with pytest.raises(ConnectionRefusedError, match="no line"):
        parent_line.connect(4711)


def test_a_listener_is_handed_over() -> None:
    """The parent's copy is a descriptor of its own."""
    ours, parents = socket.socketpair()
    with ours, parents:
        ParentLine(ours).report_denials(ours.fileno())
        data, descriptors, _, _ = socket.recv_fds(parents, REQUEST.size, 1)
        assert REQUEST.unpack(data) == (DENIALS, 0)
        os.close(descriptors[0])
