"""Which servers an engine may be connected to."""

import socket

import pytest
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.model_server import ModelServer, connect_to, read_server


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://127.0.0.1:8000", ("127.0.0.1", 8000, "")),
        ("http://localhost:11434/v1/", ("localhost", 11434, "")),
        ("http://[::1]/llm/v1", ("::1", 80, "/llm")),
    ],
)
def test_urls_with_and_without_version(url: str, server: tuple[str, int, str]) -> None:
    """Both forms are in use."""
    read = read_server(url, "m", "key")
    assert (read.host, read.port, read.path) == server
    assert (read.model, read.api_key) == ("m", "key")


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:8000", "127.0.0.1:8000", "http://", "http://h:99999", "http://u:p@h", "http://h/?q=1"]
)
def test_other_urls_are_refused(url: str) -> None:
    """With the form that is wanted, or what is wrong."""
    with pytest.raises(EngineStartFailed, match=r"The server's URL"):
        read_server(url, "m")


def test_a_server_on_this_machine_is_connected() -> None:
    """By its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ModelServer(host="127.0.0.1", port=listener.getsockname()[1], path="", model="m")
        with connect_to(server, 5.0) as connection:
            assert connection.getpeername() == listener.getsockname()


def test_a_server_of_somebody_else_is_not() -> None:
    """Prompts of clients are not sent there; nothing is connected to find that out."""
    with pytest.raises(PermissionError, match="neither on this machine nor in its own network"):
        connect_to(ModelServer(host="8.8.8.8", port=80, path="", model="m"), 5.0)
