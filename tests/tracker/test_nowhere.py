"""What no route serves."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gpunode_tracker.nowhere import add_nowhere, refuse


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def _expect_anything(_: web.Request) -> None:
    return None


async def _handler(request: web.Request) -> web.StreamResponse:
    try:
        return await refuse(request)
    except web.HTTPException as error:
        return web.Response(text=f"{error.status} {error.headers.get('Allow', '')}".strip())


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/here", "hello"),
        ("GET", "/here/too", "hello"),
        ("PUT", "/here", "405 GET,HEAD"),
        ("PUT", "/here/too", "405 GET,HEAD,POST"),
        ("GET", "/", "404"),
        ("GET", "/there", "404"),
        ("GET", "//", "404"),
        ("GET", "/%0a/%2e%2e", "404"),
        ("OPTIONS", "*", "404"),
    ],
)
async def test_all_else_is_nowhere(method: str, path: str, answer: str) -> None:
    """Unknown paths, and methods that a path does not take: those that it takes are named."""
    app = web.Application()
    app.router.add_get("/here", _hello)
    app.router.add_get("/here/{part}", _hello)
    app.router.add_post("/here/{part}", _hello)
    add_nowhere(app.router, _handler, _expect_anything)
    async with TestClient(TestServer(app)) as http:
        served = await http.request(method, path, headers={"Expect": "the unexpected"} if answer != "hello" else {})
        assert await served.text() == answer
