"""HTTP to the listener of this very process, over connections that stay open: making one takes longer than a call."""

import http.client
import socket
from collections import deque
from collections.abc import Mapping
from typing import Final

from gpunode_engines.parent_line import connect
from gpunode_engines.secret_listener import LOOPBACK

_TIMEOUT_S: Final = 60.0


class KeptConnections:
    """As many as there are calls at once; each is used by one call at a time, from any thread.

    Args:
        port: of the listener.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[http.client.HTTPConnection] = deque()

    def request(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of the answer. A call whose connection had been closed meanwhile is made once more.

        Raises:
            OSError, http.client.HTTPException: no answer.
        """
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._ask(self._connected(), method, path, body, headers)
        try:
            return self._ask(kept, method, path, body, headers)
        except (ConnectionError, http.client.BadStatusLine):  # the listener closes those that were idle for seconds
            return self._ask(self._connected(), method, path, body, headers)

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _connected(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(LOOPBACK, self._port)
        connection.auto_open = 0  # it would make a socket by itself, which the sandbox refuses
        connection.sock = connect(self._port)
        connection.sock.settimeout(_TIMEOUT_S)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # headers and body are two packets
        return connection

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None,
        headers: Mapping[str, str],
    ) -> tuple[int, bytes]:
        is_kept = False
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.status, response.read()
            is_kept = not response.will_close
        finally:
            if is_kept:
                self._idle.append(connection)
            else:
                connection.close()
        return answer
