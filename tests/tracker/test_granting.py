"""Grants over HTTP: what is reserved, what is signed, what is refused."""

import asyncio

import pytest
from aiohttp import ClientResponse
from gpunode_protocol import tracker_api as api
from gpunode_protocol.grants import GrantChecks, check_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.tasks import Task
from gpunode_tracker.upkeep import return_expired

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, TestClock

pytestmark = ON_BOTH

CLIENT, NODE = Identity.from_seed(b"c" * 32), Identity.from_seed(b"n" * 32)
CREDIT = 1_000_000


async def _ask(world: World, key: str, **request: object) -> ClientResponse:
    body = api.GrantRequest.model_validate({"peer": CLIENT.peer_id, "tasks": (Task.LLM,), **request})
    return await world.post(api.GRANTS_PATH, body, key=key)


async def test_a_grant_verifies_offline(world: World) -> None:
    """A node needs only the key set to check it; it names no account."""
    account, key = await world.account()
    reply = await world.grant(key, CLIENT, open_microcredits=5 * CREDIT, jobs=3, priority=1, lifetime_s=600)
    grant = world.tracker.keys.trust.open_grant(reply.grant, now=START_AT)
    check_grant(
        grant,
        GrantChecks(network=world.network, client=CLIENT.peer_id, node=NODE.peer_id, task=Task.LLM, now=START_AT),
    )
    assert (grant.jti, grant.exp, grant.jobs, grant.priority) == (reply.jti, START_AT + 600, 3, 1)
    assert grant.cap_at_microcredits(NODE.peer_id) == reply.reserved_microcredits == 5 * CREDIT
    assert account not in (grant.sub, grant.jti)


async def test_credits_are_reserved(world: World) -> None:
    """Open caps take their amount, named ones their sum; without either 20 credits or the balance."""
    _, key = await world.account(credits_given=100)
    other = Identity.generate()
    await world.grant(key, CLIENT, open_microcredits=30 * CREDIT)
    await world.grant(key, CLIENT, nodes={NODE.peer_id: 10 * CREDIT, other.peer_id: 25 * CREDIT})
    assert (await world.grant(key, CLIENT)).reserved_microcredits == 20 * CREDIT
    assert (await world.grant(key, CLIENT)).reserved_microcredits == 15 * CREDIT
    balance = await world.balance(key=key)
    assert (balance.spendable_microcredits, balance.reserved_microcredits) == (0, 100 * CREDIT)


async def test_no_signing_key(world: World, clock: TestClock) -> None:
    """503 says when to come back, not which file is missing; nothing was reserved."""
    _, key = await world.account(credits_given=1)
    clock.advance(-86_400)
    response = await _ask(world, key, open_microcredits=CREDIT)
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.code, response.headers["Retry-After"]) == (503, "tracker_cannot_sign", "60")
    assert "operator" in problem.detail
    clock.advance(86_400)
    assert (await world.balance(key=key)).spendable_microcredits == CREDIT


async def test_too_little_money(world: World) -> None:
    """402 names the balance and what to do; nothing was reserved."""
    _, key = await world.account(credits_given=1)
    response = await _ask(world, key, open_microcredits=2 * CREDIT)
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.code) == (402, "insufficient_credits")
    assert "1.000000 credits" in problem.detail
    assert (await world.balance(key=key)).spendable_microcredits == CREDIT
    _, empty = await world.account(credits_given=0)
    assert (await _ask(world, empty)).status == 402


@pytest.mark.parametrize(
    "request_fields",
    [
        {"open_microcredits": 1, "nodes": {NODE.peer_id: 1}},
        {"open_microcredits": 0},
        {"nodes": {}},
        {"nodes": {NODE.peer_id: 0}},
    ],
)
async def test_caps_that_make_no_sense(world: World, request_fields: dict[str, object]) -> None:
    """Both kinds of cap, or none of it, are refused."""
    _, key = await world.account()
    assert (await _ask(world, key, **request_fields)).status == 422


async def test_concurrent_grants_do_not_overdraw(world: World) -> None:
    """Ten requests for 30 of 100 credits: three succeed."""
    _, key = await world.account(credits_given=100)
    answers = await asyncio.gather(*(_ask(world, key, open_microcredits=30 * CREDIT) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [402] * 7


async def test_what_is_not_used_goes_back(world: World, clock: TestClock) -> None:
    """Two hours after the grant's end the rest returns, once."""
    deal = await world.job(open_microcredits=CREDIT, lifetime_s=60)
    await world.settle(deal.job.item(10))
    clock.advance(60 + 2 * 3600 - 1)
    assert await return_expired(world.tracker) == 0
    clock.advance(1)
    assert await return_expired(world.tracker) == 1
    assert await return_expired(world.tracker) == 0
    balance = await world.balance(key=deal.key)
    assert (balance.spendable_microcredits, balance.reserved_microcredits) == (100 * CREDIT - 300, 0)


async def test_revocation_reaches_nodes(world: World, clock: TestClock) -> None:
    """A revoked grant is in the signed list, which gets a new number, until it would have expired anyway."""
    deal = await world.job(lifetime_s=600)
    before = world.tracker.revocations.body.sequence
    await world.admin.revoke_grant(deal.grant.jti)
    await world.tracker.refresh()
    revoked = world.tracker.revocations.body
    assert (revoked.grants, revoked.sequence) == ((deal.grant.jti,), before + 1)
    clock.advance(600)
    await world.tracker.refresh()
    assert world.tracker.revocations.body.grants == ()


async def test_an_api_key_is_needed(world: World) -> None:
    """Without a key, with a wrong one or with another scheme: 401, and the reply says which header."""
    for header in ({}, {"Authorization": "Bearer gpn_wrong"}, {"Authorization": "Basic eDp5"}):
        response = await world.http.post(api.GRANTS_PATH, data="{}", headers=header)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
