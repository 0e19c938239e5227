"""The signed index and node balances over HTTP."""

from gpunode_protocol import tracker_api as api
from gpunode_protocol.adverts import open_advert
from gpunode_protocol.identity import Identity

from tests.tracker.conftest import World
from tests.tracker.parties import MODEL, advert


async def _index(world: World, query: str) -> list[str]:
    response = await world.get(f"{api.NODES_PATH}?{query}")
    assert response.status == 200, await response.text()
    envelope = api.NodesReply.model_validate_json(await response.text()).index
    body = world.tracker.keys.trust.open_index(envelope).body
    return [open_advert(item).body.peer for item in body.adverts]


async def test_the_signed_index(world: World) -> None:
    """Clients check it against the key set, and every advert in it."""
    node = Identity.generate()
    registered = await world.register(node)
    own = advert(node, registered.certificate, world.network)
    body = api.HeartbeatRequest(status="online", adverts=(own.envelope,))
    await world.post(api.HEARTBEAT_PATH.format(peer=node.peer_id), body, token=registered.token)
    assert await _index(world, "") == [node.peer_id]
    assert await _index(world, f"task=llm&model={MODEL}&region=europe") == [node.peer_id]
    assert await _index(world, "region=asia") == []
    regions = api.RegionsReply.model_validate_json(await (await world.get(api.REGIONS_PATH)).text())
    assert {count.region.value: count.nodes for count in regions.regions}["europe"] == 1


async def test_unknown_tasks_and_regions(world: World) -> None:
    """The answer lists the ones that exist."""
    for query in ("task=poetry", "region=atlantis"):
        response = await world.get(f"{api.NODES_PATH}?{query}")
        assert response.status == 422
        assert "it is one of" in await response.text()


async def test_a_nodes_balance(world: World) -> None:
    """For its own token, or the account that it is linked to, nobody else."""
    deal = await world.job()
    await world.settle(deal.job.item(10))
    path = api.NODE_BALANCE_PATH.format(peer=deal.job.node.peer_id)
    reply = api.BalanceReply.model_validate_json(await (await world.get(path, token=deal.token)).text())
    assert (reply.account, reply.spendable_microcredits) == (f"node:{deal.job.node.peer_id}", 300)
    assert (await world.get(path, key=deal.key)).status == 403
    assert (await world.get(path)).status == 401
    account, owner = await world.account(credits_given=0)
    await world.link(deal.job.node, owner)
    for headers in ({"token": deal.token}, {"key": owner}):
        linked = api.BalanceReply.model_validate_json(await (await world.get(path, **headers)).text())
        assert (linked.account, linked.spendable_microcredits) == (account, 300)
    unknown = api.NODE_BALANCE_PATH.format(peer=Identity.generate().peer_id)
    assert (await world.get(unknown, key=owner)).status == 404
    assert (await world.get(api.NODE_BALANCE_PATH.format(peer="nobody"), key=owner)).status == 400
