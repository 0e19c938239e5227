"""An HTTP server in a thread with an event loop of its own, for code under test that runs loops of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

_ACCEPTING_TURNS = 3
"""Turns of the loop from accepting a connection until the server knows it, and can close it."""


@contextmanager
def served_in_a_thread(app: web.Application) -> Iterator[str]:
    """Serve an application until the end of the block; the value is its URL, without a slash at the end."""
    started, ended, urls = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with TestServer(app) as server:
            urls.append(str(server.make_url("")).rstrip("/"))
            started.set()
            await asyncio.to_thread(ended.wait)
            for site in tuple(server.runner.sites):
                await site.stop()
            for _ in range(_ACCEPTING_TURNS):  # a client that came and left at the last moment
                await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    try:
        yield urls[0]
    finally:
        ended.set()
        thread.join()
