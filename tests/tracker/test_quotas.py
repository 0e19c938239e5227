"""The budgets of requests, over HTTP."""

from typing import Any

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.tasks import Task
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.quotas import ADDRESS_BUDGETS, IDENTITY_BUDGETS, set_quota_headers
from gpunode_tracker.rates import Decision, Rate
from gpunode_tracker.request_guard import Charge
from gpunode_tracker.routes import ROUTES

from tests.tracker.conftest import World
from tests.tracker.parties import Job, TestClock

ONE = Rate(per_minute=60, burst=1)
THREE = Rate(per_minute=60, burst=3)
HERE, THERE = "192.0.2.1", "192.0.2.2"


def _limits(**rates: Rate) -> Any:
    """Return the mark that makes these the limits of the test's tracker."""
    return pytest.mark.parametrize("limits", [Limits(rates={Budget(name): rate for name, rate in rates.items()})])


def _grant_request(**changes: Any) -> api.GrantRequest:
    fields = {"peer": Identity.generate().peer_id, "tasks": (Task.LLM,), "open_microcredits": 1_000}
    return api.GrantRequest(**fields | changes)


def test_budgets_name_routes_that_exist() -> None:
    """A renamed path loses none."""
    routes = {(route.method, route.path) for route in ROUTES}
    assert {*ADDRESS_BUDGETS, *IDENTITY_BUDGETS} <= routes


@_limits(address=THREE)
async def test_an_address_that_floods_is_told_when_to_come_back(limited: World, clock: TestClock) -> None:
    """429 with a problem body, Retry-After and the RateLimit fields; others are served; it is counted."""
    for left in (2, 1, 0):
        served = await limited.get(api.HEALTH_PATH, address=HERE)
        assert (served.status, served.headers["RateLimit"]) == (200, f'"address";r={left};t={3 - left}')
    refused = await limited.get(api.HEALTH_PATH, address=HERE)
    assert (refused.status, refused.content_type) == (429, "application/problem+json")
    assert (refused.headers["Retry-After"], refused.headers["RateLimit-Policy"]) == ("1", '"address";q=3;w=3')
    assert refused.headers["RateLimit"] == '"address";r=0;t=1'
    problem = api.Problem.model_validate_json(await refused.text())
    assert (problem.status, problem.code) == (429, "too_many_requests")
    assert "from your address: 60 a minute and 3 at once" in problem.detail
    assert (await limited.get(api.HEALTH_PATH, address=THERE)).status == 200
    assert b'gpunode_tracker_rejected_total{reason="address"} 1.0' in limited.tracker.metrics.render()
    clock.advance(1)
    assert (await limited.get(api.HEALTH_PATH, address=HERE)).status == 200


@_limits(index=ONE)
async def test_head_counts_as_get(limited: World) -> None:
    """It makes the same answer, and only does not send it."""
    assert (await limited.http.head(api.NODES_PATH)).status == 200
    assert (await limited.http.head(api.NODES_PATH)).status == 429
    assert (await limited.http.get(api.NODES_PATH)).status == 429


@_limits(address=ONE)
async def test_the_addresses_of_one_network_count_together(limited: World) -> None:
    """IPv6 by /64."""
    assert (await limited.get(api.HEALTH_PATH, address="2001:db8::1")).status == 200
    assert (await limited.get(api.HEALTH_PATH, address="2001:db8::2")).status == 429
    assert (await limited.get(api.HEALTH_PATH, address="2001:db8:0:1::1")).status == 200


@_limits(submits=THREE)
async def test_a_key_that_floods_leaves_the_other_alone(limited: World, clock: TestClock) -> None:
    """Each account has its own budget, wherever it comes from; nothing is reserved by what was refused."""
    (_, mine), (_, yours) = await limited.account(), await limited.account()
    answers = [await limited.post(api.GRANTS_PATH, _grant_request(), key=mine, address=HERE) for _ in range(2)]
    answers += [await limited.post(api.GRANTS_PATH, _grant_request(), key=mine, address=THERE) for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201, 201, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert (await limited.balance(key=mine)).reserved_microcredits == 3_000
    assert (await limited.post(api.GRANTS_PATH, _grant_request(), key=yours, address=HERE)).status == 201
    clock.advance(1)
    assert (await limited.post(api.GRANTS_PATH, _grant_request(), key=mine, address=HERE)).status == 201


@_limits(lookups=Rate(per_minute=60, burst=100))
async def test_a_key_with_a_limit_of_its_own(limited: World, clock: TestClock) -> None:
    """Beyond it 429 with when to come back, for every call; the account's other keys go on."""
    account, other = await limited.account()
    key = await limited.key(account=account, requests_per_minute=3)
    for left in (2, 1, 0):
        served = await limited.get(api.BALANCE_PATH, key=key, address=HERE)
        assert (served.status, served.headers["RateLimit"].partition(";t=")[0]) == (200, f'"key";r={left}')
    refused = [
        await limited.get(api.BALANCE_PATH, key=key, address=THERE),
        await limited.post(api.GRANTS_PATH, _grant_request(), key=key, address=HERE),
    ]
    for answer in refused:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "20")
        assert answer.headers["RateLimit-Policy"] == '"key";q=3;w=60'
    assert "from this key: 3 a minute" in (await limited.problem(refused[0])).detail
    assert (await limited.get(api.BALANCE_PATH, key=other, address=HERE)).status == 200
    assert b'gpunode_tracker_rejected_total{reason="key"} 2.0' in limited.tracker.metrics.render()
    clock.advance(20)
    assert (await limited.get(api.BALANCE_PATH, key=key, address=HERE)).status == 200


async def test_answers_tell_of_wrong_keys_only_who_shows_them(world: World) -> None:
    """A right key hears of what it may ask for; a wrong one, of how many more are looked at."""
    _, key = await world.account()
    right, wrong = [await world.get(api.BALANCE_PATH, key=shown) for shown in (key, "gpn_wrong")]
    assert right.headers["RateLimit"].startswith('"lookups";r=119;')
    assert wrong.headers["RateLimit"].startswith('"failed_authentications";r=29;')


@_limits(heartbeats=ONE)
async def test_each_node_has_its_own_heartbeats(limited: World) -> None:
    """Two behind one address do not take each other's; balances count elsewhere."""
    body = api.HeartbeatRequest(status="online")
    first, second = await limited.register(Identity.generate()), await limited.register(Identity.generate())
    statuses = [
        (await limited.post(api.HEARTBEAT_PATH.format(peer=node.node_id), body, token=node.token)).status
        for node in (first, second, first)
    ]
    assert statuses == [200, 200, 429]
    await limited.balance(token=first.token)


@pytest.mark.parametrize(
    ("method", "path", "budget"),
    [
        ("GET", api.NODES_PATH, Budget.INDEX),
        ("POST", api.CHALLENGE_PATH, Budget.CHALLENGES),
        ("POST", api.REGISTER_PATH, Budget.REGISTRATIONS),
        ("POST", api.ACCOUNTS_PATH, Budget.ACCOUNTS),
    ],
)
@pytest.mark.parametrize("limits", [Limits(rates=dict.fromkeys(set(ADDRESS_BUDGETS.values()), ONE))])
async def test_what_anybody_may_ask(limited: World, method: str, path: str, budget: Budget) -> None:
    """Signatures, challenges, registrations and accounts have small budgets by address, before a body is read."""
    answers = [await limited.http.request(method, path, headers={"X-Forwarded-For": HERE}) for _ in range(2)]
    assert answers[0].status != 429
    assert answers[1].status == 429
    assert answers[1].headers["RateLimit-Policy"].startswith(f'"{budget}"')
    elsewhere = await limited.http.request(method, path, headers={"X-Forwarded-For": THERE})
    assert elsewhere.status == answers[0].status


@_limits(failed_authentications=THREE)
async def test_who_tries_keys_is_stopped(limited: World, clock: TestClock) -> None:
    """After some wrong ones the address's keys are not even looked at for a while; nor are its tokens."""
    _, key = await limited.account()
    for _ in range(5):
        assert (await limited.get(api.BALANCE_PATH, key=key, address=HERE)).status == 200
    guesses = [await limited.get(api.BALANCE_PATH, key=f"gpn_{number}", address=HERE) for number in range(4)]
    assert [answer.status for answer in guesses] == [401, 401, 401, 429]
    assert (await limited.get(api.BALANCE_PATH, key=key, address=HERE)).status == 429
    assert (await limited.get(api.BALANCE_PATH, token="gpw_x", address=HERE)).status == 429
    assert (await limited.get(api.BALANCE_PATH, key=key, address=THERE)).status == 200
    assert b'{reason="failed_authentications"} 3.0' in limited.tracker.metrics.render()
    clock.advance(1)
    assert (await limited.get(api.BALANCE_PATH, key=key, address=HERE)).status == 200


@_limits(failed_authentications=ONE)
async def test_no_key_is_no_wrong_key(limited: World) -> None:
    """Whoever shows none gets the same answer each time."""
    for _ in range(3):
        assert (await limited.get(api.BALANCE_PATH, address=HERE)).status == 401


@_limits(settlements=ONE, anonymous_settlements=ONE)
async def test_batches_count_on_who_sends_them(limited: World) -> None:
    """Nodes on their token, accounts on their key; a token that nobody knows is no way around the address's budget."""
    node = await limited.register(Identity.generate())
    _, key = await limited.account()
    batch = api.SettlementBatch(items=(Job(limited.network, Identity.generate(), Identity.generate(), "j").item(1),))
    senders = [{"token": node.token}, {"key": key}, {}, {"token": "gpw_x"}, {"key": "gpn_x"}]
    senders += [{"token": node.token}, {"key": key}]
    statuses = [(await limited.post(api.SETTLEMENTS_PATH, batch, address=HERE, **who)).status for who in senders]
    assert statuses == [200, 200, 200, 429, 429, 429, 429]
    assert (await limited.post(api.SETTLEMENTS_PATH, batch, address=THERE, token="gpw_x")).status == 200


@_limits(settlement_items=Rate(per_minute=60_000, burst=1_000))
async def test_items_of_batches_are_counted(limited: World, clock: TestClock) -> None:
    """Because each has signatures to be checked; the whole batch comes again later."""
    item = Job(limited.network, Identity.generate(), Identity.generate(), "j").item(1)
    batch = api.SettlementBatch(items=(item,) * 600)
    assert (await limited.post(api.SETTLEMENTS_PATH, batch)).status == 200
    refused = await limited.post(api.SETTLEMENTS_PATH, batch)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    clock.advance(1)
    assert (await limited.post(api.SETTLEMENTS_PATH, batch)).status == 200


def test_the_tightest_budget_is_told() -> None:
    """A refusal before everything, then the one with the least left; none without charges."""
    many = Charge(Budget.ADDRESS, THREE, Decision(True, 2, 0, 1))
    few = Charge(Budget.SUBMITS, THREE, Decision(True, 1, 0, 2))
    none = Charge(Budget.INDEX, ONE, Decision(False, 0, 0.4, 1))
    assert _headers(many, few)["RateLimit"] == '"submits";r=1;t=2'
    assert _headers(many, none, few)["RateLimit"] == '"index";r=0;t=1'
    assert _headers() == {}


def _headers(*charges: Charge) -> dict[str, str]:
    headers: dict[str, str] = {}
    set_quota_headers(headers, charges)
    return headers
