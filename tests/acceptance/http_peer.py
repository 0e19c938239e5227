"""A client of the tracker's HTTP from an address of its own: all of 127.0.0.0/8 is this machine."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What the tracker said: status, headers in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem body."""
        assert self.headers["content-type"].startswith("application/problem+json"), self
        found: dict[str, Any] = json.loads(self.body)
        return found


class HttpPeer:
    """One client, which keeps its connection. source: its address."""

    def __init__(self, url: str, source: str) -> None:
        parts = urlsplit(url)
        self.server = (parts.hostname or "", parts.port or 0)
        self.source = source
        self._connection = http.client.HTTPConnection(*self.server, timeout=TIMEOUT_S, source_address=(source, 0))

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return the answer; key: of an account."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        sent |= {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._connection.request(method, path, body, sent)
            response = self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def connect(self) -> socket.socket:
        """Return another connection, on which nothing is said."""
        return socket.create_connection(self.server, TIMEOUT_S, source_address=(self.source, 0))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
