"""A model hub on loopback that never finishes a file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_engines.catalogue import CatalogueEntry, HubSource

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MEBIBYTE = 1024 * 1024
SENT_BYTES, SIZE_BYTES = 11 * MEBIBYTE, 40 * MEBIBYTE
"""huggingface_hub reads 10 MiB at once: the first read ends, the second one hangs."""


async def _file(request: web.Request) -> web.StreamResponse:
    headers = {"X-Repo-Commit": COMMIT, "ETag": '"weights"', "X-Linked-Size": str(SIZE_BYTES)}
    if request.method == "HEAD":
        return web.Response(headers=headers)
    response = web.StreamResponse(headers=headers | {"Content-Length": str(SIZE_BYTES)})
    await response.prepare(request)
    await response.write(bytes(SENT_BYTES))
    await asyncio.Event().wait()
    return response


@contextlib.asynccontextmanager
async def dripping_hub(entry: CatalogueEntry) -> AsyncIterator[str]:
    """Serve an entry's files and yield the URL."""
    assert isinstance(entry.source, HubSource)
    siblings = [{"rfilename": entry.source.patterns[0].replace("*", ""), "size": SIZE_BYTES}]

    async def model(_: web.Request) -> web.Response:
        return web.json_response({"id": entry.name, "sha": COMMIT, "siblings": siblings})

    app = web.Application()
    app.router.add_get("/api/models/{owner}/{name}", model)
    app.router.add_get("/{owner}/{name}/resolve/{revision}/{file}", _file)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")
