import asyncio
import gc
import socket

import pytest


@pytest.mark.parametrize("turns", range(5))
async def test_a_server_that_is_closed_as_somebody_connects(turns: int, recwarn: pytest.WarningsRecorder) -> None:
    """Whatever asyncio was doing with the connection, it is not left for another test."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        for _ in range(turns):
            await asyncio.sleep(0)
        server.close()
        for _ in range(5):
            await asyncio.sleep(0)  # whatever asyncio has begun ends
        gc.collect()
    assert not [str(warning.message) for warning in recwarn]
