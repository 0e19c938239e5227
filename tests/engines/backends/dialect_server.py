"""Small servers that speak OpenAI's interface as others do: what they answer, and what they were asked."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gpunode_engines.backends.openai_client import CHAT_PATH

Answer = tuple[int, Any]
"""Status, and JSON, or text, or a list of chunks."""


@dataclass
class Dialect:
    """answers: by path. Chats are answered by ``chat``."""

    answers: Mapping[str, Answer]
    chunks: list[dict[str, Any]] = field(default_factory=list)
    token_ids: bool = False
    context_tokens: int = 1 << 30
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """Answer a call."""
        self.asked.append((path, body))
        if path in self.answers:
            return self.answers[path]
        return self.chat(body) if path == CHAT_PATH else (404, "404 page not found")

    def chat(self, body: dict[str, Any]) -> Answer:
        """Answer a chat: a word is a token, the template adds 10, and what is too long is cut to a half, unsaid."""
        if body.get("stream"):
            return 200, self.chunks
        words = 10 + sum(len(str(message["content"]).split()) for message in body["messages"])
        counted = words if words <= self.context_tokens else self.context_tokens // 2 + 2
        choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "length"}
        choice |= {"token_ids": [7]} if self.token_ids and body.get("return_token_ids") else {}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": counted, "completion_tokens": 1}}


@contextmanager
def served(dialect: Dialect) -> Iterator[tuple[str, int]]:
    """Serve it in threads; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            status, value = dialect.answer(self.path, body)
            self.send_response(status)
            self.end_headers()
            if isinstance(value, list):
                for chunk in value:
                    self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")
                self.wfile.write(b"data: [DONE]\r\n\r\n")
            else:
                self.wfile.write(value.encode() if isinstance(value, str) else json.dumps(value).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "127.0.0.1", server.server_port
        finally:
            server.shutdown()
            thread.join()


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of an answer."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}
