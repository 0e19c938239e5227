"""Around every request."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from gpunode_protocol import tracker_api as api
from gpunode_tracker.app import create_app
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.front import Front
from gpunode_tracker.limits import MIB, Limits
from gpunode_tracker.request_ids import REQUEST_ID_HEADER
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World


async def test_request_ids(world: World) -> None:
    """A sound id of the caller comes back, another is replaced."""
    sent = await world.http.get(api.HEALTH_PATH, headers={REQUEST_ID_HEADER: "abc-1"})
    assert sent.headers[REQUEST_ID_HEADER] == "abc-1"
    bad = await world.http.get(api.HEALTH_PATH, headers={REQUEST_ID_HEADER: "a b" * 50})
    assert len(bad.headers[REQUEST_ID_HEADER]) == 16
    secret = await world.http.get(api.HEALTH_PATH, headers={REQUEST_ID_HEADER: "gpn_0123456789"})
    assert len(secret.headers[REQUEST_ID_HEADER]) == 16


async def test_unforeseen_errors(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without details; the log has them under the request's id."""

    def fail(*_args: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(world.tracker.index, "regions", fail)
    response = await world.get(api.REGIONS_PATH)
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.code) == (500, "internal")
    assert "secret" not in problem.detail
    assert response.headers[REQUEST_ID_HEADER] in problem.detail
    assert "secret" in caplog.text


async def test_paths_are_not_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands in the place of a variable may be a key: the log has the route."""

    def fail(*_args: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr("gpunode_tracker.handlers.ledger._digest", fail)
    _, key = await world.account()
    assert (await world.get(api.RECEIPT_PATH.format(receipt="by-mistake"), key=key)).status == 500
    assert api.RECEIPT_PATH in caplog.text
    assert "by-mistake" not in caplog.text


async def test_aiohttps_own_refusals(world: World) -> None:
    """Unknown paths and wrong methods are problems too."""
    missing = await world.get("/api/v1/nothing")
    assert (missing.status, missing.content_type) == (404, "application/problem+json")
    wrong = await world.http.delete(api.NETWORK_PATH)
    assert (wrong.status, wrong.content_type) == (405, "application/problem+json")
    assert "GET" in wrong.headers["Allow"]


@pytest.mark.parametrize("limits", [Limits(requests_per_address=2)])
async def test_requests_at_once(limited: World) -> None:
    """An address with unfinished requests is told to wait, others are served, and what ends makes room."""
    go_on = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        begun.release()
        await go_on.wait()

    async def send() -> int:
        response = await limited.http.post(api.SETTLEMENTS_PATH, data=slow(), headers={"X-Forwarded-For": "192.0.2.1"})
        return response.status

    async def status(address: str) -> int:
        return (await limited.get(api.HEALTH_PATH, address=address)).status

    unfinished = [asyncio.create_task(send()) for _ in range(2)]
    for _ in unfinished:
        await begun.acquire()
    while await status("192.0.2.1") == 200:  # until the tracker, too, has begun with both
        pass
    assert await status("192.0.2.2") == 200
    assert b'gpunode_tracker_rejected_total{reason="requests_in_flight"}' in limited.tracker.metrics.render()
    go_on.set()
    assert await asyncio.gather(*unfinished) == [400, 400]
    assert await status("192.0.2.1") == 200


@pytest.mark.parametrize("limits", [Limits(large_body_bytes_per_address=MIB, large_body_bytes=MIB)])
async def test_memory_for_large_bodies(limited: World) -> None:
    """A body beyond what an address may hold in memory is answered 429, and the memory is free afterwards."""
    for _ in range(2):
        large = await limited.http.post(api.SETTLEMENTS_PATH, data=io.BytesIO(b" " * (2 * MIB)))
        assert (large.status, large.headers["Retry-After"]) == (429, "5")
        small = await limited.http.post(api.SETTLEMENTS_PATH, data=io.BytesIO(b" " * MIB))
        assert small.status == 400
    assert b'gpunode_tracker_rejected_total{reason="large_bodies"} 2.0' in limited.tracker.metrics.render()


@pytest.mark.parametrize("limits", [Limits(body_bytes=16_384, settlement_body_bytes=MIB)])
async def test_bodies_have_the_size_of_the_settings(limited: World) -> None:
    """413 beyond it, which says the size, and counted."""
    _, key = await limited.account()
    headers = {"Authorization": f"Bearer {key}"}
    for path, most_bytes in ((api.GRANTS_PATH, 16_384), (api.SETTLEMENTS_PATH, MIB)):
        fits = await limited.http.post(path, data=io.BytesIO(b" " * most_bytes), headers=headers)
        assert (fits.status, (await fits.json())["code"]) == (400, "malformed")
        too_large = await limited.http.post(path, data=io.BytesIO(b" " * (most_bytes + 1)), headers=headers)
        assert (too_large.status, too_large.content_type) == (413, "application/problem+json")
        assert f"than the {most_bytes:,} bytes that" in (await too_large.json())["detail"]
    assert b'gpunode_tracker_rejected_total{reason="body_size"} 2.0' in limited.tracker.metrics.render()


async def test_expectations_are_counted(world: World) -> None:
    """Requests with an unknown one pass the same limits as all others; a body that waits to be asked for comes."""
    answer = await world.http.get(api.HEALTH_PATH, headers={"Expect": "the unexpected"})
    assert answer.status == 200
    assert b'http_requests_total{path="/healthz",status="200"} 1.0' in world.tracker.metrics.render()
    for path, status in (("/nothing", 404), (api.GRANTS_PATH, 405)):
        refused = await world.http.get(path, headers={"Expect": "the unexpected"})
        assert (refused.status, refused.content_type) == (status, "application/problem+json")
        assert refused.headers["RateLimit"].startswith('"address"')
    assert b'http_requests_total{path="other",status="404"} 1.0' in world.tracker.metrics.render()
    _, key = await world.account()
    headers = {"Authorization": f"Bearer {key}"}
    asked = await world.http.post(api.GRANTS_PATH, data=io.BytesIO(b" " * 1_000), headers=headers, expect100=True)
    assert (asked.status, (await asked.json())["code"]) == (400, "malformed")


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_is_no_failure(
    begun: bool, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether its answer has begun or not: it is counted apart, and the log is silent."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if begun:
            await response.prepare(request)
        asked.set()
        while request.transport is not None:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
        try:
            await response.prepare(request)
            await response.write(b"too late")
        finally:
            ended.set()
        return response

    app = create_app(tracker)
    app.router.add_get("/stream", Front(tracker, app[GUARD]).around("/stream", stream))
    runner = web.AppRunner(app)  # as the tracker runs it: aiohttp's server for tests cancels such handlers
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(asked.wait(), 10)
    writer.close()
    await asyncio.wait_for(ended.wait(), 10)
    await runner.cleanup()
    assert b'http_requests_total{path="/stream",status="499"} 1.0' in tracker.metrics.render()
    assert not [record for record in caplog.records if record.name.startswith("gpunode")]


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        pytest.param(b"no gzip", {"Content-Encoding": "gzip"}, 400, "close", id="not-to-be-unpacked"),
        pytest.param(b" " * (64 * 1024 + 1), {}, 413, "close", id="too-large"),
        pytest.param(b"{", {}, 400, None, id="read-to-its-end"),
    ],
)
async def test_a_connection_that_ends_says_so(
    world: World, body: bytes, headers: dict[str, str], status: int, says: str | None
) -> None:
    """Where a body was not read to its end: else the client would send its next request into a closed one."""
    _, key = await world.account()
    headers = {"Authorization": f"Bearer {key}", **headers}
    response = await world.http.post(api.GRANTS_PATH, data=body, headers=headers, compress=False)
    assert (response.status, response.headers.get("Connection")) == (status, says)
