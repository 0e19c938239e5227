import os
import socket

import pytest
from gpunode_engines.child_call import PID, call_parent, first_words


def test_the_call() -> None:
    """It begins with the secret and the caller's process id; no packet waits for the next one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        expected = b"s3cret\n" + PID.pack(os.getpid())
        with call_parent(first_words(server.getsockname()[1], "s3cret")) as call, server.accept()[0] as parents:
            assert parents.recv(len(expected), socket.MSG_WAITALL) == expected
            assert call.gettimeout() is None
            assert call.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_parent_that_listens_no_more() -> None:
    """The child cannot do anything but end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        call_parent(first_words(port, "s3cret"))


@pytest.mark.parametrize("words", [b"", b"4711", b"port secret\n"])
def test_a_parent_that_said_nothing_of_use(words: bytes) -> None:
    """Somebody started the module by hand."""
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        call_parent(words)
