"""A model hub on loopback that never finishes a file, but gives the rest of one that was begun."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_engines.catalogue import CatalogueEntry, HubSource

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MEBIBYTE = 1024 * 1024
SENT_BYTES, SIZE_BYTES = 11 * MEBIBYTE, 40 * MEBIBYTE
"""What comes of a file that is asked for as a whole."""

CONTENT = bytes(range(256)) * (SIZE_BYTES // 256)


LFS = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": SIZE_BYTES, "pointerSize": 1}
RANGES = web.AppKey("ranges", list)


async def _file(request: web.Request) -> web.StreamResponse:
    headers = {"X-Repo-Commit": COMMIT, "ETag": '"weights"', "X-Linked-Size": str(SIZE_BYTES)}
    if request.method == "HEAD":
        return web.Response(headers=headers)
    if wanted := request.headers.get("Range"):
        request.app[RANGES].append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers["Content-Range"] = f"bytes {start}-{SIZE_BYTES - 1}/{SIZE_BYTES}"
        return web.Response(status=206, headers=headers, body=CONTENT[start:])
    response = web.StreamResponse(headers=headers | {"Content-Length": str(SIZE_BYTES)})
    await response.prepare(request)
    await response.write(CONTENT[:SENT_BYTES])
    await asyncio.Event().wait()
    return response


@contextlib.asynccontextmanager
async def dripping_hub(entry: CatalogueEntry, ranges: list[str] | None = None) -> AsyncIterator[str]:
    """Serve an entry's files and yield the URL. ranges: gets what is asked for of files in part."""
    assert isinstance(entry.source, HubSource)
    siblings = [{"rfilename": entry.source.patterns[0].replace("*", ""), "size": SIZE_BYTES, "lfs": LFS}]

    async def model(_: web.Request) -> web.Response:
        return web.json_response({"id": entry.name, "sha": COMMIT, "siblings": siblings})

    app = web.Application()
    app[RANGES] = [] if ranges is None else ranges
    app.router.add_get("/api/models/{owner}/{name}", model)
    app.router.add_get("/{owner}/{name}/resolve/{revision}/{file}", _file)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")
