"""Open registration: off by default, promotional where it is on."""

from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock

REQUEST = api.AccountRequest(name="passer-by")


async def test_registration_is_closed(world: World) -> None:
    """The operator makes accounts."""
    response = await world.post(api.ACCOUNTS_PATH, REQUEST)
    assert response.status == 403
    assert "operator" in await response.text()


async def test_open_registration(settings: TrackerSettings, clock: TestClock) -> None:
    """Anybody gets a promotional account whose key works."""
    opened = settings.model_copy(update={"open_registration": True, "initial_credits": 7})
    tracker = await Tracker.open(opened, clock)
    async with TestClient(TestServer(create_app(tracker))) as http:
        world = World(tracker, http, Administration(opened, tracker.database, tracker.keys, clock))
        response = await world.post(api.ACCOUNTS_PATH, REQUEST)
        reply = api.AccountReply.model_validate_json(await response.text())
        balance = await world.balance(key=reply.api_key)
    assert response.status == 201
    assert (reply.promotional, balance.promotional) == (True, True)
    assert balance.spendable_microcredits == reply.spendable_microcredits == 7_000_000


async def test_an_account_is_told_which_nodes_are_linked_to_it(world: World) -> None:
    """Its own, in order, without those that were shut out; nobody is told of others'."""
    key, other = (await world.account(credits_given=0))[1], (await world.account(credits_given=0))[1]
    linked = sorted([await _linked_node(world, key), await _linked_node(world, key)])
    await _linked_node(world, other)
    assert await _own_nodes(world, key) == tuple(linked)
    await world.admin.revoke_node(linked[0])
    assert await _own_nodes(world, key) == tuple(linked[1:])
    assert (await world.get(api.OWN_NODES_PATH)).status == 401


async def _linked_node(world: World, key: str) -> str:
    node = Identity.generate()
    await world.register(node)
    await world.link(node, key)
    return node.peer_id


async def _own_nodes(world: World, key: str) -> tuple[str, ...]:
    response = await world.get(api.OWN_NODES_PATH, key=key)
    return api.OwnNodesReply.model_validate_json(await response.text()).nodes
