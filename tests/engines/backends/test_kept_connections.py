import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
from gpunode_engines import parent_line
from gpunode_engines.backends.kept_connections import KeptConnections


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it got; closes connections as the test says, without a word."""

    protocol_version = "HTTP/1.1"
    hangs_up_after: ClassVar[int] = 100
    says_close: ClassVar[bool] = False
    together: ClassVar[threading.Barrier | None] = None

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.together is not None:
            self.together.wait(timeout=10)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.says_close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.served = getattr(self, "served", 0) + 1
        if self.served >= self.hangs_up_after:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Way:
    """Connects, and counts."""

    def __init__(self) -> None:
        self.made = 0

    def connect(self, port: int) -> socket.socket:
        """See ``parent_line.Connections``."""
        self.made += 1
        return socket.create_connection(("127.0.0.1", port))

    def connect_to_server(self) -> socket.socket:
        """See ``parent_line.Connections``."""
        raise NotImplementedError


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> _Way:
    """The way of this process to its listener."""
    way = _Way()
    monkeypatch.setattr(parent_line, "_ways", [way])
    return way


@pytest.fixture
def handler() -> type[_Handler]:
    """Of this test's own."""
    return type("Handler", (_Handler,), {})


@pytest.fixture
def kept(handler: type[_Handler], way: _Way) -> Iterator[KeptConnections]:  # noqa: ARG001 -- the way is in use
    """Connections to a listener that runs."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        kept = KeptConnections(server.server_address[1])
        yield kept
        kept.close()
        server.shutdown()
        thread.join()


def _ask(kept: KeptConnections, text: str) -> tuple[int, bytes]:
    return kept.request("POST", "/tokenize", text, {"Content-Type": "text/plain"})


def test_calls_share_a_connection(kept: KeptConnections, way: _Way) -> None:
    """The parent is asked for one, once."""
    assert [_ask(kept, text) for text in "abc"] == [(200, b"a"), (200, b"b"), (200, b"c")]
    assert way.made == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(
    kept: KeptConnections, way: _Way, handler: type[_Handler]
) -> None:
    """The caller does not notice."""
    handler.hangs_up_after = 1
    assert [_ask(kept, text) for text in "abc"] == [(200, b"a"), (200, b"b"), (200, b"c")]
    assert way.made == 3


def test_a_connection_that_the_listener_will_close_is_not_kept(
    kept: KeptConnections, way: _Way, handler: type[_Handler]
) -> None:
    """It has said so."""
    handler.says_close = True
    assert [_ask(kept, text) for text in "ab"] == [(200, b"a"), (200, b"b")]
    assert way.made == 2


def test_calls_at_once_do_not_share_one(kept: KeptConnections, way: _Way, handler: type[_Handler]) -> None:
    """Their answers would be mixed up; afterwards both are there for others."""
    handler.together = threading.Barrier(2)
    answers: list[tuple[int, bytes]] = []
    others = [threading.Thread(target=lambda text=text: answers.append(_ask(kept, text))) for text in "ab"]
    for other in others:
        other.start()
    for other in others:
        other.join()
    handler.together = None
    assert sorted(answers) == [(200, b"a"), (200, b"b")]
    assert _ask(kept, "c") == (200, b"c")
    assert way.made == 2


def test_a_listener_that_hangs_up_at_once_is_an_error(kept: KeptConnections, handler: type[_Handler]) -> None:
    """There is no endless asking."""
    handler.do_POST = lambda self: self.connection.shutdown(socket.SHUT_RDWR)  # type: ignore[method-assign]  # -- on purpose
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        _ask(kept, "a")
