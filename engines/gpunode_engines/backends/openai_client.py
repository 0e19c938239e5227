"""HTTP to a server that speaks OpenAI's interface, over connections that the parent makes."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from gpunode_engines.errors import BackendFailed, ContextOverflow, InvalidParameters
from gpunode_engines.model_server import ModelServer
from gpunode_engines.parent_line import connect_to_server

CHAT_PATH = "/v1/chat/completions"

_SILENCE_S = 120.0
"""A server that sends nothing for so long has failed; a long prompt may take a minute before the first token."""
_CANCEL_CHECK_S = 0.05
_MAX_LINE_BYTES = 4 * 1024 * 1024


class OpenAiClient:
    """Calls of one server. Methods may be called from several threads."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer of a call.

        Raises:
            ContextOverflow, InvalidParameters: the server refuses. BackendFailed: it does not answer as it should.
        """
        with self._request(method, path, body) as (response, _):
            return _object(response.read())

    def stream(self, path: str, body: dict[str, Any], cancelled: threading.Event) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a streamed answer; ends early, and so does the server's work, once ``cancelled`` is set.

        Raises:
            ContextOverflow, InvalidParameters, BackendFailed: see ``call``; also for a stream without its end.
        """
        with self._request("POST", path, body | {"stream": True}) as (response, sock), _cut_when(cancelled, sock):
            while line := response.readline(_MAX_LINE_BYTES):
                data = line.strip().removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                if not line.endswith(b"\n"):  # the end of the connection, or a line beyond all measure
                    break
                if line.startswith(b"data:"):
                    yield _object(data)
        if not cancelled.is_set():
            raise BackendFailed("The model server broke its answer off; the job can be sent again.")

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> Iterator[tuple[http.client.HTTPResponse, socket.socket]]:
        connection = http.client.HTTPConnection(self._server.host, self._server.port)
        headers = {"Content-Type": "application/json"}
        if self._server.api_key:
            headers["Authorization"] = f"Bearer {self._server.api_key}"
        try:
            connection.sock = sock = connect_to_server()
            sock.settimeout(_SILENCE_S)
            connection.request(method, self._server.path + path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise _refusal(response.status, response.read())
            yield response, sock
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BackendFailed(
                "The model server does not answer; is it running? The job can be sent again."
            ) from error
        finally:
            connection.close()


@contextlib.contextmanager
def _cut_when(cancelled: threading.Event, sock: socket.socket) -> Iterator[None]:
    """Close a connection as soon as a job is cancelled, also while nothing comes."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if cancelled.wait(_CANCEL_CHECK_S):
                with contextlib.suppress(OSError):  # closed already
                    sock.shutdown(socket.SHUT_RDWR)
                return

    watcher = threading.Thread(target=watch, name="cancel-watch", daemon=True)
    watcher.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not cancelled.is_set():
            raise
    finally:
        over.set()
        watcher.join()


def _refusal(status: int, content: bytes) -> Exception:
    """Return the error for a refusal. Its text may quote the prompt, so none of it is passed on."""
    text = content.decode(errors="replace").lower()
    if status == HTTPStatus.BAD_REQUEST and "context" in text:
        return ContextOverflow("The model server refuses the prompt: it is longer than its context.")
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return InvalidParameters("The model server refuses these parameters or messages.")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return BackendFailed("The model server refuses the key; its owner has to correct api_key in the models file.")
    return BackendFailed(f"The model server answered with status {status}; the job can be sent again.")


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise BackendFailed("The model server sent something that is no JSON object.")
    return value
