"""HTTP to a model server: refusals, broken streams, cancels."""

import re
import socket
import threading
from collections.abc import Iterator

import pytest
from gpunode_engines.backends import openai_client
from gpunode_engines.backends.openai_client import OpenAiClient
from gpunode_engines.errors import BackendFailed, ContextOverflow, EngineError, InvalidParameters
from gpunode_engines.model_server import ModelServer


def _whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (piece := connection.recv(65536)):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    while length and len(body) < int(length[1]) and (piece := connection.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body


class Server:
    """Answers every connection with the same bytes and keeps what was asked."""

    def __init__(self, answer: bytes, *, hang: bool = False) -> None:
        self.asked = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self._hang = hang
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            self.asked = _whole_request(connection)  # what is left unread at a close resets the connection
            connection.sendall(self._answer)
            while self._hang and connection.recv(1):
                pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[tuple[OpenAiClient, Server]]:
    """A client of a server with the test's answer, connected directly."""
    server: Server = request.param()
    address = server.socket.getsockname()
    monkeypatch.setattr(openai_client, "connect_to_server", lambda: socket.create_connection(address))
    yield OpenAiClient(ModelServer(host="h", port=1, path="/llm", model="m", api_key="key")), server
    server.socket.close()


def answering(status: str, body: bytes, *, hang: bool = False) -> object:
    """Return a maker of servers."""
    return lambda: Server(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode() + body, hang=hang)


@pytest.mark.parametrize("client", [answering("200 OK", b'{"a": 1}')], indirect=True)
def test_an_answer_is_an_object(client: tuple[OpenAiClient, Server]) -> None:
    """The key and the path are sent."""
    assert client[0].call("GET", "/v1/models") == {"a": 1}
    assert client[1].asked.startswith(b"GET /llm/v1/models ")
    assert b"Authorization: Bearer key" in client[1].asked


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (answering("400 No", b"exceeds the Context size"), ContextOverflow),
        (answering("400 No", b"my secret prompt"), InvalidParameters),
        (answering("422 No", b""), InvalidParameters),
        (answering("500 No", b"my secret prompt"), BackendFailed),
        (answering("200 OK", b"[1]"), BackendFailed),
        (answering("200 OK", b"{"), BackendFailed),
        (lambda: Server(b""), BackendFailed),
    ],
    indirect=["client"],
)
def test_refusals_by_kind(client: tuple[OpenAiClient, Server], error: type[EngineError]) -> None:
    """None quotes what the server said, which may be the prompt."""
    with pytest.raises(error) as caught:
        client[0].call("POST", "/x", {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "client", [answering("200 OK", b'data: {"a": 1}\n\n: note\n\ndata: [DONE]\n\n')], indirect=True
)
def test_a_stream_ends_with_its_mark(client: tuple[OpenAiClient, Server]) -> None:
    """Comments are skipped."""
    assert list(client[0].stream("/x", {}, threading.Event())) == [{"a": 1}]
    assert b'"stream": true' in client[1].asked


@pytest.mark.parametrize("client", [answering("200 OK", b'data: {"a": 1}\n\n')], indirect=True)
def test_a_stream_without_its_end_is_broken(client: tuple[OpenAiClient, Server]) -> None:
    """It does not pass for a whole answer."""
    with pytest.raises(BackendFailed, match="broke its answer off"):
        list(client[0].stream("/x", {}, threading.Event()))


@pytest.mark.parametrize("client", [answering("200 OK", b'data: {"a": 1}\n\n', hang=True)], indirect=True)
def test_a_cancel_cuts_a_stream_that_hangs(client: tuple[OpenAiClient, Server]) -> None:
    """Without an error; nothing is waited for."""
    cancelled = threading.Event()
    chunks = []
    for chunk in client[0].stream("/x", {}, cancelled):
        chunks.append(chunk)
        cancelled.set()
    assert chunks == [{"a": 1}]


@pytest.mark.parametrize("client", [answering("200 OK", b'data: {"a": 1}\n\ndata: {"a', hang=True)], indirect=True)
def test_a_cancel_cuts_a_stream_within_a_chunk(client: tuple[OpenAiClient, Server]) -> None:
    """What had come of it is no answer that cannot be read."""
    cancelled = threading.Event()
    chunks = []
    for chunk in client[0].stream("/x", {}, cancelled):
        chunks.append(chunk)
        cancelled.set()
    assert chunks == [{"a": 1}]


@pytest.mark.parametrize("client", [answering("200 OK", b'data: {"a": 1}\n\ndata: {"a')], indirect=True)
def test_a_stream_that_ends_within_a_chunk_is_broken(client: tuple[OpenAiClient, Server]) -> None:
    """As one that ends between two."""
    with pytest.raises(BackendFailed, match="broke its answer off"):
        list(client[0].stream("/x", {}, threading.Event()))
