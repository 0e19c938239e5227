import socket

import pytest
from gpunode_engines.model_server import ModelServer
from gpunode_engines.own_connections import OwnConnections


def test_to_a_listener_of_this_process() -> None:
    """A blocking socket, as the parent's are."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with OwnConnections(None).connect(port) as connection:
            assert connection.getpeername() == server.getsockname()
            assert connection.gettimeout() is None
    with pytest.raises(ConnectionRefusedError):
        OwnConnections(None).connect(port)


def test_to_the_models_server() -> None:
    """If it has one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ModelServer(host="127.0.0.1", port=server.getsockname()[1], path="", model="m")
        with OwnConnections(address).connect_to_server() as connection:
            assert connection.getpeername() == server.getsockname()
            assert connection.gettimeout() is None
    with pytest.raises(ConnectionRefusedError, match="no server"):
        OwnConnections(None).connect_to_server()
