"""The connections of a child that makes them itself, because nothing keeps it from that: see ``parent_line``."""

import socket

from gpunode_engines.model_server import ModelServer, connect_to
from gpunode_engines.secret_listener import LOOPBACK

_CONNECT_TIMEOUT_S = 5.0


class OwnConnections:
    """Implements ``parent_line.Connections``. server: that the model's owner named, None = none."""

    def __init__(self, server: ModelServer | None) -> None:
        self._server = server

    def connect(self, port: int) -> socket.socket:
        """See ``parent_line.Connections``."""
        return _blocking(socket.create_connection((LOOPBACK, port), _CONNECT_TIMEOUT_S))

    def connect_to_server(self) -> socket.socket:
        """See ``parent_line.Connections``."""
        if self._server is None:
            raise ConnectionRefusedError("This model has no server.")
        return _blocking(connect_to(self._server, _CONNECT_TIMEOUT_S))


def _blocking(connection: socket.socket) -> socket.socket:
    connection.settimeout(None)
    return connection
