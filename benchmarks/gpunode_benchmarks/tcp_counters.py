"""What the kernel has counted on TCP connections: payload and segments, without a proxy in between. Linux only.

Asked over netlink (sock_diag(7), linux/inet_diag.h); the counters are those of ``struct tcp_info`` (linux/tcp.h, 4.19
and later), which ``ss -ti`` shows too.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gpunode_benchmarks.errors import BenchmarkFailed

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_AND_DUMP = 0x301
_ERROR, _DONE = 2, 3
_TCP_ESTABLISHED = 1
_INET_DIAG_INFO = 2

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_QUERY = struct.Struct("=BBBBI48s")  # family, protocol, wanted attributes, padding, states, socket id
_SOCKET = struct.Struct("=BBBB2s2s")  # family, state, timer, retransmissions, local and remote port
_SOCKET_BYTES = 72
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 1 << 16

_OPTIONS_AT, _TIMESTAMPS = 5, 1
_BYTES_RECEIVED_AT, _SEGMENTS_AT, _BYTES_SENT_AT = 128, 136, 200
_HEADERS_BYTES = 20 + 20
"""IPv4 and TCP, without options."""
_TIMESTAMP_BYTES = 12
"""TCP's timestamp option, padded (RFC 7323 appendix A)."""


@dataclass(frozen=True, slots=True)
class TcpCount:
    """One connection, both directions. payload_bytes: retransmissions included. wire_bytes: with TCP and IP headers."""

    local_port: int
    remote_port: int
    payload_bytes: int
    segments: int
    wire_bytes: int


def established(local_port: int) -> list[TcpCount]:
    """Return the counters of all established IPv4 connections of a local port.

    Raises:
        BenchmarkFailed: the system has no such counters.
    """
    try:
        return [count for count in _dump() if count.local_port == local_port]
    except (OSError, AttributeError, struct.error) as error:
        raise BenchmarkFailed(f"The kernel's TCP counters cannot be read, as on Linux they can: {error}.") from error


def _dump() -> Iterator[TcpCount]:
    query = _QUERY.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, 1 << _TCP_ESTABLISHED, b"")
    header = _HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _REQUEST_AND_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(header + query)
        while True:
            for kind, payload in _messages(netlink.recv(_BUFFER_BYTES)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", payload)[0], "netlink refuses the question")
                yield _count(payload)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _count(payload: bytes) -> TcpCount:
    _, _, _, _, local, remote = _SOCKET.unpack_from(payload)
    info = dict(_attributes(payload[_SOCKET_BYTES:]))[_INET_DIAG_INFO]
    (received,) = struct.unpack_from("=Q", info, _BYTES_RECEIVED_AT)
    (sent,) = struct.unpack_from("=Q", info, _BYTES_SENT_AT)
    segments = sum(struct.unpack_from("=II", info, _SEGMENTS_AT))
    each = _HEADERS_BYTES + (_TIMESTAMP_BYTES if info[_OPTIONS_AT] & _TIMESTAMPS else 0)
    return TcpCount(
        local_port=int.from_bytes(local, "big"),
        remote_port=int.from_bytes(remote, "big"),
        payload_bytes=sent + received,
        segments=segments,
        wire_bytes=sent + received + segments * each,
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
