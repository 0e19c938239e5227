import socket
from collections.abc import Iterator

import pytest
from gpunode_benchmarks import tcp_counters
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tcp_counters import TcpCount, established


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Two ends of a connection on loopback, and the port of the first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as far:
            near, _ = server.accept()
            with near:
                yield near, far, port


def _count(port: int) -> TcpCount:
    (count,) = established(port)
    return count


def test_payload_is_counted_to_the_byte_in_both_directions(pair: tuple[socket.socket, socket.socket, int]) -> None:
    """From either end."""
    near, far, port = pair
    near.sendall(b"x" * 1000)
    far.sendall(b"y" * 50)
    assert len(far.recv(2000, socket.MSG_WAITALL | socket.MSG_DONTWAIT)) == 1000
    assert len(near.recv(50, socket.MSG_WAITALL)) == 50
    far_port = far.getsockname()[1]
    assert (_count(port).payload_bytes, _count(port).remote_port) == (1050, far_port)
    assert (_count(far_port).payload_bytes, _count(far_port).remote_port) == (1050, port)


def test_every_segment_costs_its_headers(pair: tuple[socket.socket, socket.socket, int]) -> None:
    """At least 40 bytes, at most 60 more with options; acknowledgements are segments too."""
    near, far, port = pair
    before = _count(port)
    for _ in range(10):
        near.sendall(b"x" * 10)
        assert far.recv(10) == b"x" * 10
    after = _count(port)
    segments = after.segments - before.segments
    headers_bytes = after.wire_bytes - before.wire_bytes - (after.payload_bytes - before.payload_bytes)
    assert segments >= 10
    assert 40 * segments <= headers_bytes <= 100 * segments


def test_a_port_without_connections_has_no_counters() -> None:
    """A listener alone is none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert established(server.getsockname()[1]) == []


def test_a_kernel_without_counters_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems have no netlink; the message says so."""
    monkeypatch.setattr(tcp_counters, "_NETLINK_SOCK_DIAG", 31)
    with pytest.raises(BenchmarkFailed, match="Linux"):
        established(1)
