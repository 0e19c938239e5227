"""What runs on the lab's hosts to measure the lab itself: an echo, round trips over UDP and TCP, throughput.

Each function is called in the lab (``Lab.call``); arguments and results are JSON. Durations are in milliseconds.
"""

import contextlib
import select
import selectors
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

ECHO_PORT: Final = 7007
"""UDP and TCP: what comes goes back."""
SINK_PORT: Final = 7009
"""TCP: what comes is counted; at the sender's end the count goes back."""

_PING: Final = struct.Struct("!Id")  # number, when it was sent
_PATIENCE_S: Final = 2.0
START_PATIENCE_S: Final = 10.0
_RETRY_S: Final = 0.05
_CHUNK_BYTES: Final = 64 * 1024
_COUNT: Final = struct.Struct("!Qd")  # bytes, seconds in which they came


def serve_echo() -> None:
    """Serve both ports until killed."""
    selector = selectors.DefaultSelector()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", ECHO_PORT))  # noqa: S104 -- all addresses of a host in the lab
    selector.register(udp, selectors.EVENT_READ, _echo_datagram)
    for port, handler in ((ECHO_PORT, _echo), (SINK_PORT, _sink)):
        listener = socket.create_server(("0.0.0.0", port))  # noqa: S104 -- see above
        selector.register(listener, selectors.EVENT_READ, lambda listening, serve=handler: serve(listening.accept()[0]))
    while True:
        for key, _ in selector.select():
            key.data(key.fileobj)


def _echo_datagram(udp: socket.socket) -> None:
    udp.sendto(*udp.recvfrom(2_048))


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(2_048):
            connection.sendall(data)


def _sink(connection: socket.socket) -> None:
    """Count what comes in the second half of the time: in the first one TCP finds out what the path can do."""
    with connection, contextlib.suppress(ConnectionError):
        arrivals = [(time.monotonic(), 0)]
        while data := connection.recv(_CHUNK_BYTES):
            arrivals.append((time.monotonic(), len(data)))
        middle = (arrivals[0][0] + arrivals[-1][0]) / 2
        counted = [(at, size) for at, size in arrivals if at >= middle]
        connection.sendall(_COUNT.pack(sum(size for _, size in counted), counted[-1][0] - middle))


def udp_round_trips(
    targets: Mapping[str, str], rounds: int, start_s: float = START_PATIENCE_S
) -> dict[str, list[float]]:
    """Ping every target in each round, all at once; return each one's round trips. What is lost is missing.

    Args:
        targets: address by name; ``serve_echo`` runs or starts there.
        rounds: how often.
        start_s: how long to wait until each has answered once, before the rounds.
    """
    found: dict[str, list[float]] = {name: [] for name in targets}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        deadline = time.monotonic() + start_s
        silent = dict(targets)
        while silent and time.monotonic() < deadline:
            answered = _ping_once(udp, silent, _RETRY_S if len(silent) < len(targets) else _PATIENCE_S)
            silent = {name: address for name, address in silent.items() if name not in answered}
        for _ in range(rounds):
            for name, round_trip_ms in _ping_once(udp, targets, _PATIENCE_S).items():
                found[name].append(round_trip_ms)
    return found


def _ping_once(udp: socket.socket, targets: Mapping[str, str], patience_s: float) -> dict[str, float]:
    names = list(targets)
    round_number = time.monotonic_ns() & 0xFFFFFF00
    for place, address in enumerate(targets.values()):
        udp.sendto(_PING.pack(round_number + place, time.monotonic()), (address, ECHO_PORT))
    found: dict[str, float] = {}
    deadline = time.monotonic() + patience_s
    while len(found) < len(names) and select.select([udp], [], [], max(0.0, deadline - time.monotonic()))[0]:
        number, sent_at = _PING.unpack(udp.recv(2_048))
        if round_number <= number < round_number + len(names):  # else it is of an earlier round
            found[names[number - round_number]] = (time.monotonic() - sent_at) * 1_000
    return found


def tcp_round_trips(address: str, rounds: int) -> dict[str, float | list[float]]:
    """Connect to the echo and use it: return ``connect`` and ``echoes``.

    Raises:
        OSError: nobody listens there.
    """
    connection, connect_ms = _connect(address, ECHO_PORT)
    echoes = []
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            started_at = time.monotonic()
            connection.sendall(b"!")
            if not connection.recv(1):
                raise ConnectionResetError("The echo has gone.")
            echoes.append((time.monotonic() - started_at) * 1_000)
    return {"connect": connect_ms, "echoes": echoes}


def tcp_megabits(address: str, seconds: float) -> float:
    """Send for some seconds as fast as TCP does; return megabits per second, as received in the second half.

    Raises:
        OSError: nobody listens there.
    """
    connection, _ = _connect(address, SINK_PORT)
    chunk = bytes(_CHUNK_BYTES)
    with connection:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
        size, duration_s = _COUNT.unpack(connection.recv(_COUNT.size, socket.MSG_WAITALL))
    return float(size * 8 / duration_s / 1e6)


def _connect(address: str, port: int) -> tuple[socket.socket, float]:
    """Connect, waiting for whoever starts to listen; return the connection and the milliseconds of the last attempt."""
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        started_at = time.monotonic()
        try:
            connection = socket.create_connection((address, port), timeout=START_PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            connection.settimeout(None)
            return connection, (time.monotonic() - started_at) * 1_000
