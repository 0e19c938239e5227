"""Headers on every answer."""

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_tracker.app import create_app
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.front import Front
from gpunode_tracker.reply_headers import HSTS
from gpunode_tracker.tls_certificate import tls_context
from gpunode_tracker.tracker import Tracker

from tests.tracker.certificates import self_signed
from tests.tracker.conftest import World

HEADER = "Strict-Transport-Security"


async def test_types_are_taken_as_stated(world: World) -> None:
    """Of refusals too."""
    for path in (api.HEALTH_PATH, "/nothing", api.BALANCE_PATH):
        assert (await world.get(path)).headers["X-Content-Type-Options"] == "nosniff"


async def test_answers_to_keys_and_tokens_are_not_kept(world: World) -> None:
    """What belongs to one caller stays out of caches, refusals included; what is everybody's may be kept."""
    _, key = await world.account()
    for headers in ({"key": key}, {"key": "gpn_wrong"}, {"token": "gpw_wrong"}):
        assert (await world.get(api.BALANCE_PATH, **headers)).headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in (await world.get(api.NETWORK_PATH)).headers


async def test_streams_have_them_too(tracker: Tracker) -> None:
    """They are set before the head is sent; a handler's own stay."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-cache"})
        await response.prepare(request)
        await response.write_eof(b"data: x\n\n")
        return response

    app = create_app(tracker)
    app.router.add_get("/stream", Front(tracker, app[GUARD]).around("/stream", stream))
    async with TestClient(TestServer(app)) as http:
        answer = await http.get("/stream", headers={"Authorization": "Bearer x", "X-Request-ID": "abc"})
        assert (answer.headers["X-Request-ID"], answer.headers["RateLimit"][:11]) == ("abc", '"address";r')
        assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-cache")


async def test_plain_http_promises_nothing(world: World) -> None:
    """Whatever the client says of a proxy."""
    answer = await world.http.get(api.HEALTH_PATH, headers={"X-Forwarded-Proto": "https"})
    assert HEADER not in answer.headers


@pytest.mark.parametrize(
    ("schemes", "promised"),
    [(["https"], True), (["http, HTTPS"], True), (["https", "http"], False), (["http"], False), (["https://x"], False)],
)
async def test_https_with_a_trusted_proxy(schemes: list[str], promised: bool, limited: World) -> None:
    """What the proxy said last counts."""
    headers = [("X-Forwarded-Proto", scheme) for scheme in schemes]
    answer = await limited.http.get(api.HEALTH_PATH, headers=headers)
    assert (answer.headers.get(HEADER) == HSTS) == promised


async def test_https_stays_https(settings: TrackerSettings, tmp_path: Path) -> None:
    """Over TLS of its own the tracker says so."""
    tracker = await Tracker.open(settings)
    context = tls_context(*self_signed(tmp_path))
    server = TestServer(create_app(tracker), scheme="https")
    await server.start_server(ssl=context)
    async with TestClient(server) as http:
        assert (await http.get(api.HEALTH_PATH, ssl=False)).headers[HEADER] == HSTS
