"""Bans over HTTP: how they are made, and what they shut out."""

import pytest
from gpunode_protocol import admin_api as admin
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker.bans import BanKind
from gpunode_tracker.limits import Limits
from gpunode_tracker.scopes import Scope

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock, advert

BANS = admin.ADMIN_BANS_PATH
HERE, THERE = "192.0.2.1", "198.51.100.1"


async def _ban(world: World, root: str, kind: str, subject: str, **more: object) -> admin.BanView:
    body = admin.BanOrder.model_validate({"kind": kind, "subject": subject, "reason": "spam"} | more)
    return await world.made(admin.BanView, BANS, body, key=root)


async def test_bans_are_listed_and_lifted(world: World) -> None:
    """By the form in which they are kept, a network too."""
    root = await world.key(Scope.ADMIN)
    account, key = await world.account()
    made = [await _ban(world, root, "account", account), await _ban(world, root, "address", "198.51.100.0/24")]
    first = await world.read(admin.BansPage, f"{BANS}?limit=1", key=root)
    rest = await world.read(admin.BansPage, f"{BANS}?limit=1&cursor={first.next_cursor}", key=root)
    assert [*first.bans, *rest.bans] == made
    assert rest.next_cursor is None
    for ban in made:
        assert (await world.delete(f"{BANS}?kind={ban.kind}&subject={ban.subject}", key=root)).status == 204
        assert (await world.delete(f"{BANS}?kind={ban.kind}&subject={ban.subject}", key=root)).status == 404
    assert (await world.read(admin.BansPage, BANS, key=root)).bans == ()
    await world.balance(key=key)


@pytest.mark.parametrize("query", ["", "?kind=address", "?subject=x", "?kind=country&subject=x"])
async def test_a_ban_has_to_be_named(query: str, world: World) -> None:
    """By kind and subject."""
    root = await world.key(Scope.ADMIN)
    assert (await world.delete(BANS + query, key=root)).status == 422


async def test_a_banned_account(world: World, clock: TestClock) -> None:
    """All of its keys, and the nodes that are linked to it, are told why, and until when, wherever they ask."""
    root = await world.key(Scope.ADMIN)
    deal = await world.job()
    await world.link(deal.job.node, deal.key)
    await world.balance(key=deal.key)
    await _ban(world, root, "account", deal.account, until=START_AT + 60)
    heartbeat = api.HEARTBEAT_PATH.format(peer=deal.job.node.peer_id)
    answers = [
        await world.get(api.BALANCE_PATH, key=deal.key),
        await world.get(api.BALANCE_PATH, token=deal.token),
        await world.get(admin.KEYS_PATH, key=await world.key(account=deal.account)),
        await world.post(api.SETTLEMENTS_PATH, api.SettlementBatch(items=(deal.job.item(1),)), key=deal.key),
        await world.post(heartbeat, api.HeartbeatRequest(status="online"), token=deal.token),
        await world.link(Identity.generate(), deal.key),
    ]
    for answer in answers:
        problem = await world.problem(answer)
        assert (problem.status, problem.code) == (403, "banned")
        assert "This account is shut out until 2025-06-15 15:07 UTC: spam." in problem.detail
    clock.advance(60)
    await world.balance(key=deal.key)
    await world.balance(token=deal.token)


@pytest.mark.parametrize("limits", [Limits()])
async def test_a_banned_network(limited: World) -> None:
    """It is refused before anything else, whatever it asks for, and counted; others are served."""
    root = await limited.key(Scope.ADMIN)
    _, key = await limited.account()
    await _ban(limited, root, "address", "192.0.2.0/24")
    for path in (api.HEALTH_PATH, api.NETWORK_PATH, api.BALANCE_PATH, "/nothing", BANS):
        problem = await limited.problem(await limited.get(path, address=HERE, key=key))
        assert (problem.status, problem.code) == (403, "banned")
        assert "Your address is shut out: spam." in problem.detail
    assert b'gpunode_tracker_rejected_total{reason="banned"} 5.0' in limited.tracker.metrics.render()
    assert (await limited.get(api.BALANCE_PATH, address=THERE, key=key)).status == 200
    refused = await limited.get(api.HEALTH_PATH, address=HERE)
    assert "RateLimit" not in refused.headers  # nothing was counted for it
    assert (await limited.delete(f"{BANS}?kind=address&subject=192.0.2.0/24", key=root, address=THERE)).status == 204
    assert (await limited.get(api.HEALTH_PATH, address=HERE)).status == 200


async def test_a_banned_node(world: World, clock: TestClock) -> None:
    """Off the index, its certificate revoked, no new one, no heartbeat; afterwards it comes back by itself."""
    root = await world.key(Scope.ADMIN)
    node = Identity.generate()
    registered = await world.register(node)
    heartbeat = api.HEARTBEAT_PATH.format(peer=node.peer_id)
    own = advert(node, registered.certificate, world.network)
    body = api.HeartbeatRequest(status="online", adverts=(own.envelope,))
    assert (await world.post(heartbeat, body, token=registered.token)).status == 200
    await _ban(world, root, "node", node.peer_id, until=START_AT + 60)
    assert world.tracker.index.find(clock()) == []
    assert (await world.problem(await world.post(heartbeat, body, token=registered.token))).code == "banned"
    again = await world.post(
        api.REGISTER_PATH, api.RegisterRequest(registration=await world.registration(node)), key=root
    )
    assert "This node is shut out" in (await world.problem(again)).detail
    await world.tracker.refresh()
    certificate = world.tracker.keys.trust.open_certificate(registered.certificate, now=clock()).body
    assert certificate.serial in world.tracker.revocations.body.certificates
    clock.advance(60)
    answer = await world.post(heartbeat, api.HeartbeatRequest(status="online"), token=registered.token)
    fresh = api.HeartbeatReply.model_validate_json(await answer.text()).certificate
    assert fresh is not None
    assert world.tracker.keys.trust.open_certificate(fresh, now=clock()).body.serial != certificate.serial


async def test_a_ban_that_this_process_has_not_seen_yet(world: World) -> None:
    """Another one has set it: the node gets no certificate even before."""
    node = Identity.generate()
    registered = await world.register(node)
    await world.admin.bans.place(BanKind.NODE, node.peer_id, "lies")
    assert world.tracker.bans.find(BanKind.NODE, node.peer_id) is None
    body = api.HeartbeatRequest(status="online")
    answer = await world.post(api.HEARTBEAT_PATH.format(peer=node.peer_id), body, token=registered.token)
    assert (await world.problem(answer)).code == "banned"
    await world.tracker.refresh()
    assert world.tracker.bans.find(BanKind.NODE, node.peer_id) is not None
