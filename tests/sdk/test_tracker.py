import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode._tracker import TrackerClient
from gpunode.errors import (
    InsufficientCredits,
    InvalidSettings,
    TrackerBusy,
    TrackerError,
    TrackerUnreachable,
    Unauthorized,
)
from gpunode_protocol import tracker_api as api
from gpunode_protocol.signing import WireModel

from tests.sdk.world import Keys, World, regions_reply

KEYS = Keys()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Waits:
    """Notes how long the client would wait between attempts."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Wait no time at all."""
        self.seconds.append(seconds)


@asynccontextmanager
async def _served(handler: Handler, *, api_key: str | None = "secret") -> AsyncIterator[tuple[TrackerClient, _Waits]]:
    """A tracker on loopback that answers everything with ``handler``."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    waits = _Waits()
    async with TestServer(app) as server:
        client = TrackerClient(str(server.make_url("")).rstrip("/"), api_key=api_key, sleep=waits)
        try:
            yield client, waits
        finally:
            await client.close()


def _json(model: WireModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")


def _refusing(status: int, code: str = "", times: int = 1_000) -> tuple[Handler, list[web.Request]]:
    """Return a handler that refuses some times, then shows a balance; and the requests that it saw."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        if len(seen) <= times:
            return _json(api.Problem(title="No", status=status, detail="So it is.", code=code), status)
        return _json(api.BalanceReply(account="me", spendable_microcredits=5))

    return handle, seen


async def test_every_call_uses_its_path_and_body() -> None:
    """Paths and bodies are those of tracker_api, the key goes into the Authorization header."""
    seen: list[tuple[str, str, str | None, bytes]] = []
    replies: dict[str, WireModel] = {
        api.NETWORK_PATH: KEYS.network_info(),
        api.NODES_PATH: KEYS.index(),
        api.REGIONS_PATH: regions_reply(europe=2),
        api.BALANCE_PATH: api.BalanceReply(account="me", spendable_microcredits=5),
        api.ENTRIES_PATH: api.EntriesReply(entries=()),
        api.SETTLEMENTS_PATH: api.SettlementReply(results=()),
    }

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, request.headers.get("Authorization"), await request.read()))
        reply = replies.get(request.path)
        return web.Response(status=204) if reply is None else _json(reply)

    async with _served(handle) as (client, _):
        assert (await client.network()).network == KEYS.network
        await client.nodes(task="llm", model=None, region="asia")
        assert await client.regions() == regions_reply(europe=2)
        assert (await client.balance()).spendable_microcredits == 5
        await client.entries(limit=3, cursor="77")
        report = api.ReportRequest(
            node=KEYS.root.peer_id, job="01890000-0000-7000-8000-000000000001", segment=0, kind="bad_receipt"
        )
        await client.report(report)
    assert [(method, path) for method, path, _, _ in seen] == [
        ("GET", "/api/v1/network"),
        ("GET", "/api/v1/nodes?task=llm&region=asia"),
        ("GET", "/api/v1/regions"),
        ("GET", "/api/v1/ledger/balance"),
        ("GET", "/api/v1/ledger/entries?limit=3&cursor=77"),
        ("POST", "/api/v1/reports"),
    ]
    assert {key for _, _, key, _ in seen} == {"Bearer secret"}
    assert api.ReportRequest.model_validate_json(seen[-1][3]) == report


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Unauthorized), (403, Unauthorized), (402, InsufficientCredits), (404, TrackerError), (422, TrackerError)],
)
async def test_refusals_have_their_own_classes(status: int, error: type[TrackerError]) -> None:
    """The tracker's words, its code, and what to do; not repeated."""
    handle, seen = _refusing(status, "why")
    async with _served(handle) as (client, _):
        with pytest.raises(error, match="So it is") as caught:
            await client.balance()
    assert (caught.value.status, caught.value.code, len(seen)) == (status, "why", 1)
    assert "secret" not in str(caught.value)


async def test_a_bare_refusal_comes_with_advice() -> None:
    """A proxy, say, that knows nothing of problem details."""

    async def refuse(_: web.Request) -> web.Response:
        raise web.HTTPPaymentRequired

    async with _served(refuse) as (client, _):
        with pytest.raises(InsufficientCredits, match=r"402\. See 'gpunode ledger balance'"):
            await client.balance()


async def test_a_busy_tracker_is_asked_again() -> None:
    """Twice more, with growing pauses; then the error is told."""
    handle, seen = _refusing(503, times=2)
    async with _served(handle) as (client, waits):
        assert (await client.balance()).account == "me"
        assert len(seen) == 3
        assert 0.2 <= waits.seconds[0] < waits.seconds[1] <= 0.6
    handle, seen = _refusing(503)
    async with _served(handle) as (client, _):
        with pytest.raises(TrackerBusy):
            await client.balance()
    assert len(seen) == 3


async def test_a_grant_is_not_asked_for_twice() -> None:
    """Its answer may have been lost after the credits were reserved."""
    handle, seen = _refusing(503)
    async with _served(handle) as (client, _):
        with pytest.raises(TrackerBusy):
            await client.grant(api.GrantRequest(peer=KEYS.root.peer_id, tasks=("llm",), open_microcredits=1))
    assert len(seen) == 1


def _limiting(times: int, retry_after: str = "1") -> tuple[Handler, list[web.Request]]:
    """Return a handler that says 429 some times, then shows a balance; and the requests that it saw."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        if len(seen) > times:
            return _json(api.BalanceReply(account="me", spendable_microcredits=5))
        response = _json(api.Problem(title="No", status=429, detail="Wait.", code="too_many_requests"), 429)
        response.headers["Retry-After"] = retry_after
        return response

    return handle, seen


async def test_a_limit_is_waited_out() -> None:
    """As long as Retry-After says, and as often as it takes: such a request was not served."""
    handle, seen = _limiting(5)
    async with _served(handle) as (client, waits):
        assert (await client.balance()).account == "me"
        assert len(seen) == 6
        assert all(1 <= pause <= 1.5 for pause in waits.seconds)


async def test_a_grant_waits_for_a_limit_too() -> None:
    """Nothing was reserved, so asking again is safe."""
    handle, seen = _limiting(1)
    async with _served(handle) as (client, waits):
        with pytest.raises(TrackerError):  # the answer is no grant, but it was asked for again
            await client.grant(api.GrantRequest(peer=KEYS.root.peer_id, tasks=("llm",), open_microcredits=1))
        assert len(seen) == 2
        assert len(waits.seconds) == 1


async def test_a_long_limit_is_told() -> None:
    """Who would wait for minutes is told at once, and for how long."""
    handle, seen = _limiting(1, "300")
    async with _served(handle) as (client, waits):
        with pytest.raises(TrackerBusy, match="Wait") as caught:
            await client.balance()
    assert (caught.value.retry_after_s, len(seen), waits.seconds) == (300, 1, [])


async def test_nobody_listens(unused_tcp_port: int) -> None:
    """Where no tracker is, the address is named; even a grant is asked for again, as nobody has seen the request."""
    waits = _Waits()
    client = TrackerClient(f"http://127.0.0.1:{unused_tcp_port}", api_key="k", sleep=waits)
    with pytest.raises(TrackerUnreachable, match=str(unused_tcp_port)):
        await client.grant(api.GrantRequest(peer=KEYS.root.peer_id, tasks=("llm",), open_microcredits=1))
    await client.close()
    assert len(waits.seconds) == 2


async def test_calls_for_an_account_need_its_key() -> None:
    """Said before anything is sent."""
    handle, seen = _refusing(500)
    async with _served(handle, api_key=None) as (client, _):
        with pytest.raises(Unauthorized, match="GPUNODE_API_KEY"):
            await client.balance()
    assert seen == []


async def test_something_else_than_a_tracker_answers() -> None:
    """A web page, and a redirect to elsewhere, are no answers."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("https://example.com/")

    for handler, words in (
        (page, "something else than a NetworkInfo"),
        (elsewhere, "redirects to https://example.com, which"),
    ):
        async with _served(handler) as (client, _):
            with pytest.raises(TrackerError, match=words):
                await client.network()


async def test_an_endless_answer_is_cut() -> None:
    """Eight MiB are more than any answer has."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 1_000_000)
        except (ConnectionError, asyncio.CancelledError):
            return response

    async with _served(flood) as (client, _):
        with pytest.raises(TrackerError, match="more than"):
            await client.network()


def test_a_ca_file_that_cannot_be_used(world: World) -> None:
    """It is named."""
    config: Any = world.config(ca_file=world.folder / "none.pem")
    with pytest.raises(InvalidSettings, match=r"none\.pem"):
        TrackerClient.from_config(config)
