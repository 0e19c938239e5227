"""Who asks."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.tasks import Task
from gpunode_tracker.app import create_app
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.auth import account_of, key_of
from gpunode_tracker.front import Front
from gpunode_tracker.lookup_cache import LIFETIME_S
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage.accounts import Account, public_key_id
from gpunode_tracker.storage.tables import api_keys, nodes
from sqlalchemy import select, update

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock


async def test_secrets_are_stored_as_hashes(world: World) -> None:
    """Neither API keys nor worker tokens stand in the database."""
    _, key = await world.account()
    token = (await world.register(Identity.generate())).token
    async with world.tracker.database.read() as connection:
        stored = [*(await connection.execute(select(api_keys.c.key_hash))).scalars()]
        stored += (await connection.execute(select(nodes.c.token_hash))).scalars()
    assert {len(value) for value in stored} == {32}
    files = [path.read_bytes() for path in world.tracker.settings.data_dir.glob("tracker.db*")]
    assert not any(secret.encode() in data for secret in (key, token) for data in files)


async def test_keys_and_tokens_do_not_mix(world: World) -> None:
    """A worker token is no API key, and an API key is no worker token."""
    _, key = await world.account()
    token = (await world.register(Identity.generate())).token
    assert (await world.get(api.BALANCE_PATH, key=token)).status == 401
    assert (await world.get(api.BALANCE_PATH, token=key)).status == 401
    assert (await world.get(api.BALANCE_PATH, key=key)).status == 200
    assert (await world.get(api.BALANCE_PATH, token=token)).status == 200


@pytest.mark.parametrize("header", [b"Authorization: Bearer ", b"X-Worker-Token: "])
async def test_keys_that_are_not_text_are_unknown(world: World, header: bytes) -> None:
    """Bytes that are not UTF-8 in a header are refused like any wrong key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.server.port)
    head = f"GET {api.BALANCE_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    writer.write(head + header + b"\xff\xfe\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()


async def test_scopes(world: World) -> None:
    """A key does what it is good for; a refusal names what is missing and what to do."""
    account, key = await world.account()
    reader = await world.key(Scope.LEDGER, account=account)
    assert (await world.balance(key=reader)).account == account
    client = Identity.generate()
    body = api.GrantRequest(peer=client.peer_id, tasks=(Task.LLM,), open_microcredits=1_000)
    refused = await world.post(api.GRANTS_PATH, body, key=reader)
    problem = await world.problem(refused)
    assert (problem.status, problem.code) == (403, "missing_scope")
    assert "the scope 'grants'" in problem.detail
    assert "gpunode tracker create-key --scope grants" in problem.detail
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="gpunode", error="insufficient_scope", scope="grants"'
    assert (await world.balance(key=key)).reserved_microcredits == 0
    spender = await world.key(Scope.GRANTS, account=account)
    assert (await world.post(api.GRANTS_PATH, body, key=spender)).status == 201
    assert (await world.get(api.BALANCE_PATH, key=spender)).status == 403


async def test_keys_end(world: World, clock: TestClock) -> None:
    """At their instant, to the second, although they were just in use; and they are no guesses."""
    key = await world.key(expires_at=START_AT + 60)
    clock.advance(59)
    await world.balance(key=key)
    clock.advance(1)
    for _ in range(100):
        refused = await world.get(api.BALANCE_PATH, key=key)
        assert refused.status == 401
    assert "This API key ended at 2025-06-15 15:07 UTC" in (await world.problem(refused)).detail
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="gpunode", error="invalid_token"'


async def test_a_batch_with_a_key_that_ended(world: World, clock: TestClock) -> None:
    """Its signatures are enough: it counts as anybody's."""
    deal = await world.job()
    key = await world.key(account=deal.account, expires_at=START_AT + 60)
    clock.advance(60)
    batch = api.SettlementBatch(items=(deal.job.item(1),))
    response = await world.post(api.SETTLEMENTS_PATH, batch, key=key)
    assert response.status == 200
    assert response.headers["RateLimit-Policy"].startswith('"anonymous_settlements"')


async def test_handlers_know_the_key(world: World) -> None:
    """Its public id, for the audit log and for jobs."""
    account, key = await world.account()
    found: list[Account] = []

    async def show(request: web.Request) -> web.Response:
        found.append(await account_of(request, Scope.LEDGER))
        return web.Response(text=key_of(request).id)

    app = create_app(world.tracker)
    app.router.add_get("/show", Front(world.tracker, app[GUARD]).around("/show", show))
    app.cleanup_ctx.clear()  # the tracker is the fixture's
    async with TestClient(TestServer(app)) as http:
        answer = await http.get("/show", headers={"Authorization": f"bearer  {key}"})
        assert await answer.text() == public_key_id(key)
    assert (found[0].id, found[0].key_id) == (account, public_key_id(key))


async def test_a_key_in_use_is_not_looked_up_each_time(limited: World, clock: TestClock) -> None:
    """Nor is a token; what the operator's commands change is seen after three seconds at the latest."""
    _, key = await limited.account()
    token = (await limited.register(Identity.generate())).token
    await limited.balance(key=key)
    await limited.balance(token=token)
    async with limited.tracker.database.write() as connection:
        await connection.execute(update(api_keys).values(revoked_at=START_AT))
        await connection.execute(update(nodes).values(token_hash=None))
    clock.advance(LIFETIME_S - 0.1)
    await limited.balance(key=key)
    await limited.balance(token=token)
    clock.advance(0.1)
    assert (await limited.get(api.BALANCE_PATH, key=key)).status == 401
    assert (await limited.get(api.BALANCE_PATH, token=token)).status == 401


async def test_a_new_token_ends_the_old_one_at_once(world: World) -> None:
    """Although that was just in use."""
    node = Identity.generate()
    old = (await world.register(node)).token
    await world.balance(token=old)
    new = (await world.register(node)).token
    assert (await world.get(api.BALANCE_PATH, token=old)).status == 401
    await world.balance(token=new)
