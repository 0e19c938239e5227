"""JSON bodies."""

import asyncio
from collections.abc import AsyncIterator
from unittest import mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from gpunode_protocol import tracker_api as api
from gpunode_protocol.jobs_api import SLOW_LINE_BYTES_PER_S, MaintenanceRequest
from gpunode_protocol.tracker_api import BalanceReply, HeadReply
from gpunode_tracker import bodies
from gpunode_tracker.app_keys import CALL, GUARD
from gpunode_tracker.bodies import read_body, read_number, reply
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.limits import MIB, Limits
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.request_guard import Call, RequestGuard

from tests.node.virtual_time import virtual_time
from tests.tracker.conftest import World


def test_secrets_are_not_cached() -> None:
    """A reply with a secret says so to every cache."""
    body = BalanceReply(account="a", spendable_microcredits=1)
    assert reply(body, no_store=True).headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in reply(body).headers


def test_bytes_are_url_safe_base64() -> None:
    """What is written reads back, also bytes that need - and _."""
    body = HeadReply.model_validate({"head": {"body": b"\xfb\xff", "signature": b""}})
    text = reply(body).text or ""
    assert '"-_8="' in text
    assert HeadReply.model_validate_json(text) == body


@pytest.mark.parametrize("text", ["-1", "1.5", "", "x", "11", "٣", "9" * 30])
def test_numbers_of_the_query(text: str) -> None:
    """Only whole numbers within the range count."""
    request = make_mocked_request("GET", "/")
    request = request.clone(rel_url=request.rel_url.with_query({"n": text}))
    with pytest.raises(InvalidRequest, match="n is a whole number from 0 to 10"):
        read_number(request, "n", 3, highest=10)
    assert read_number(make_mocked_request("GET", "/"), "n", 3, highest=10) == 3
    assert read_number(make_mocked_request("GET", "/?n=10"), "n", 3, highest=10) == 10


async def test_small_paths_take_small_bodies(world: World) -> None:
    """64 KiB is enough for everything but settlements."""
    _, key = await world.account()
    headers = {"Authorization": f"Bearer {key}"}
    response = await world.http.post("/api/v1/grants", data=b" " * (64 * 1024 + 1), headers=headers)
    assert response.status == 413


async def test_large_bodies_are_read_like_small_ones(world: World) -> None:
    """What is wrong with them is said in the same words."""
    large = '{"items": [' + " " * (bodies.SMALL_BYTES + 1)
    for text, status in ((large, 400), (large + "7]}", 422)):
        response = await world.http.post(api.SETTLEMENTS_PATH, data=text)
        assert (response.status, response.content_type) == (status, "application/problem+json")


async def test_a_body_that_cannot_be_unpacked(world: World) -> None:
    """A wrong content encoding is the sender's fault."""
    response = await world.http.post(
        api.SETTLEMENTS_PATH, data=b"no gzip", headers={"Content-Encoding": "gzip"}, compress=False
    )
    assert (response.status, (await response.json())["code"]) == (400, "malformed")


async def test_a_body_that_does_not_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends a body by drops does not hold the connection for ever."""
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.05)
    never = asyncio.Event()

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    response = await world.http.post(api.SETTLEMENTS_PATH, data=drops())
    assert (response.status, response.content_type) == (408, "application/problem+json")
    never.set()


async def _read_slowly(bytes_per_s: float, *, slow_line: bool) -> MaintenanceRequest:
    """Read a body of 8 MiB that comes at some speed."""
    loop = asyncio.get_running_loop()
    content = StreamReader(mock.Mock(BaseProtocol, _reading_paused=False), 2**16, loop=loop)
    guard = RequestGuard(Limits(), (), MemoryRateBuckets(loop.time))
    app = web.Application()
    app[GUARD] = guard
    request = make_mocked_request("POST", "/", payload=content, app=app)
    request[CALL] = Call("1", "/", "192.0.2.1", "192.0.2.1", guard, guard.in_flight.visit("192.0.2.1"), [])

    async def send() -> None:
        for _ in range(8):
            content.feed_data(b" " * MIB)
            await asyncio.sleep(MIB / bytes_per_s)
        content.feed_data(b'{"enabled": true}')
        content.feed_eof()

    sending = asyncio.create_task(send())
    try:
        return await read_body(request, MaintenanceRequest, max_bytes=9 * MIB, slow_line=slow_line)
    finally:
        sending.cancel()


@virtual_time
async def test_a_large_body_over_a_slow_line() -> None:
    """Takes the time that the line needs, where that was foreseen."""
    assert (await _read_slowly(1.1 * SLOW_LINE_BYTES_PER_S, slow_line=True)).enabled
    with pytest.raises(web.HTTPRequestTimeout):
        await _read_slowly(0.5 * SLOW_LINE_BYTES_PER_S, slow_line=True)
    with pytest.raises(web.HTTPRequestTimeout):
        await _read_slowly(1.1 * SLOW_LINE_BYTES_PER_S, slow_line=False)
