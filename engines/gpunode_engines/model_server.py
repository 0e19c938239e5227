"""Where a server that speaks OpenAI's interface listens: on this machine or in its own network, nowhere else."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from gpunode_engines.errors import EngineStartFailed

_HTTP_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServer:
    """host: name or address. path: before ``/v1``, without a slash at its end. model: its name there.

    api_key: empty = none.
    """

    host: str
    port: int
    path: str
    model: str
    api_key: str = ""


def read_server(url: str, model: str, api_key: str = "") -> ModelServer:
    """Read a server's URL, with or without ``/v1`` at its end.

    Raises:
        EngineStartFailed: it is no ``http`` URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _HTTP_PORT
    except ValueError as error:
        raise EngineStartFailed(f"The server's URL {url} cannot be read: {error}.") from error
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.username:
        raise EngineStartFailed(
            f"The server's URL {url} must look like http://127.0.0.1:8000; servers elsewhere are not for gpunode."
        )
    path = parts.path.rstrip("/").removesuffix("/v1")
    return ModelServer(host=parts.hostname, port=port, path=path, model=model, api_key=api_key)


def connect_to(server: ModelServer, timeout_s: float) -> socket.socket:
    """Return a connection to a server.

    Raises:
        PermissionError: it is not in the owner's own network. OSError: it does not answer.
    """
    *_, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
    ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if not (ip.is_loopback or ip.is_private):
        raise PermissionError(f"{server.host} ({ip}) is neither on this machine nor in its own network.")
    return socket.create_connection((str(address[0]), server.port), timeout_s)
