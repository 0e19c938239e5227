"""The signed index and node balances over HTTP."""

from gpunode_protocol import tracker_api as api
from gpunode_protocol.adverts import open_advert
from gpunode_protocol.geography import Position
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region

from tests.tracker.conftest import World
from tests.tracker.parties import MODEL, advert
from tests.tracker.pull_workers import pull_worker


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


async def test_a_pull_workers_balance(world: World) -> None:
    """Of its own key, by its own token; a worker without a key has none."""
    keyed = await pull_worker(world, identity=Identity.from_seed(b"w" * 32))
    assert keyed.identity is not None
    peer = keyed.identity.peer_id
    path = api.NODE_BALANCE_PATH.format(peer=peer)
    reply = api.BalanceReply.model_validate_json(await (await world.get(path, token=keyed.token)).text())
    assert (reply.account, reply.spendable_microcredits) == (f"node:{peer}", 0)
    other = api.NODE_BALANCE_PATH.format(peer=Identity.generate().peer_id)
    assert (await world.get(other, token=keyed.token)).status == 403
    plain = await pull_worker(world)
    assert (await world.get(path, token=plain.token)).status == 403


async def _beat(world: World, node: Identity, position: Position, *trips: api.RoundTrip) -> api.HeartbeatReply:
    """Register a node, link it to an account of its own, and send a heartbeat."""
    registered = await world.register(node)
    await world.link(node, (await world.account())[1])
    told = advert(node, registered.certificate, world.network, latitude=position.latitude, longitude=position.longitude)
    body = api.HeartbeatRequest(status="online", adverts=(told.envelope,), round_trips=trips)
    response = await world.post(api.HEARTBEAT_PATH.format(peer=node.peer_id), body, token=registered.token)
    assert response.status == 200, await response.text()
    return api.HeartbeatReply.model_validate_json(await response.text())


async def test_a_node_that_lies_about_its_region(world: World) -> None:
    """Three others measure 2 ms to it from Frankfurt; it says Sydney. Clients and the node itself are told."""
    liar, frankfurt, sydney = Identity.generate(), Position(50, 9), Position(-34, 151)
    assert not (await _beat(world, liar, sydney)).place_doubtful
    trip = api.RoundTrip(peer=liar.peer_id, rtt_ms=2, region=Region.OCEANIA, latitude=-34, longitude=151)
    for _ in range(3):
        assert not world.tracker.network_info().doubtful_places
        await _beat(world, Identity.generate(), frankfurt, trip)
        world.tracker.judge_places()
    info = api.NetworkInfo.model_validate_json(await (await world.get(api.NETWORK_PATH)).text())
    assert info.doubtful_places == (liar.peer_id,)
    assert (await _beat(world, liar, sydney)).place_doubtful


async def test_who_tells_no_place_of_its_own_is_not_heard(world: World) -> None:
    """Its round trips cannot be judged; too many of them are refused."""
    node, other = Identity.generate(), Identity.generate()
    registered = await world.register(node)
    await world.link(node, (await world.account())[1])
    trip = api.RoundTrip(peer=other.peer_id, rtt_ms=2, region=Region.OCEANIA)
    path = api.HEARTBEAT_PATH.format(peer=node.peer_id)
    told = advert(node, registered.certificate, world.network).envelope
    body = api.HeartbeatRequest(status="online", adverts=(told,), round_trips=(trip,))
    assert (await world.post(path, body, token=registered.token)).status == 200
    assert not world.tracker.places._told
    many = body.model_copy(update={"round_trips": (trip,) * (api.MAX_ROUND_TRIPS + 1)})
    assert (await world.post(path, many, token=registered.token)).status == 422
