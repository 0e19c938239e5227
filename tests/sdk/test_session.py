import asyncio
from typing import Any, NoReturn

import pytest
from gpunode._job_wish import JobWish
from gpunode._placing import Demand
from gpunode._session import Session
from gpunode.config import ClientConfig
from gpunode.errors import ClientError, ClockOff, NoNodeFound, TrackerUnreachable
from gpunode_protocol.mesh import Mesh, MeshConfig, RecordValidator, load_identity
from gpunode_protocol.payloads import ChatMessage, LlmParams, input_tokens_bound
from gpunode_protocol.prices import DEFAULT_PRICES, Price
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import CallerPlace, GrantReply, GrantRequest, NodesReply, RegionsReply

from tests.sdk.memory_mesh import MemoryMesh
from tests.sdk.world import EPOCH, MODEL, World, regions_reply

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)


class _Meshes:
    """Makes meshes and remembers them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: list[MemoryMesh] = []

    def __call__(self, config: MeshConfig, validator: RecordValidator) -> Mesh:
        """Make one."""
        self.made.append(MemoryMesh(self.world.mesh, config, validator, self.world.clock))
        return self.made[-1]


async def test_the_mesh_is_joined_once_as_a_client(world: World) -> None:
    """It stores nothing for others and listens nowhere; calls at once share it."""
    meshes = _Meshes(world)
    world.tracker.info = world.keys.network_info(bootstrap=("/ip4/127.0.0.1/tcp/1/p2p/x",))
    session = Session(world.config(), world.surroundings(create_mesh=meshes))
    await asyncio.gather(session.ready(), session.ready())
    (mesh,) = meshes.made
    assert (mesh.config.client_mode, mesh.config.listen_addresses) == (True, ())
    assert mesh.config.bootstrap == ("/ip4/127.0.0.1/tcp/1/p2p/x",)
    await session.close()
    assert not mesh.is_running


async def test_key_and_tracker_may_come_from_outside(world: World) -> None:
    """Who has a key already is known by it; a tracker in this process needs no settings."""
    key = world.folder / "other.key"
    session = Session(world.config(), world.surroundings(identity_path=key, create_tracker=_refuse), world.tracker)
    assert (await session.ready()).mesh.peer_id == load_identity(key).peer_id
    assert await session.tracker.network() == world.keys.network_info()
    assert not (world.folder / "client" / "identity.key").exists()
    await session.close()


def _refuse(_config: ClientConfig) -> NoReturn:
    raise AssertionError("nobody asked for it")


async def test_a_failed_start_leaves_nothing_and_may_be_repeated(world: World) -> None:
    """First contact with the tracker down; then it comes back."""
    meshes = _Meshes(world)
    session = Session(world.config(), world.surroundings(create_mesh=meshes))
    world.tracker.down = True
    with pytest.raises(TrackerUnreachable):
        await session.ready()
    assert meshes.made == []
    world.tracker.down = False
    await session.ready()
    assert meshes.made[0].is_running
    await session.close()


async def test_new_keys_and_revocations_reach_the_validator(world: World) -> None:
    """The network is asked again after five minutes, in the background."""
    monotonic = asyncio.get_running_loop().time
    session = Session(world.config(), world.surroundings(monotonic=lambda: monotonic() + world.now - EPOCH))
    await session.ready()
    world.now += 301
    newer = world.keys.revocations("bad", sequence=2).envelope
    world.tracker.info = world.keys.network_info(revocations=newer, time=int(world.now))
    await session.ready()
    await session._background.close()
    ready = await session.ready()
    assert ready.validator.revocations is not None
    assert ready.validator.revocations.certificates == ("bad",)
    await session.close()


async def test_a_wrong_clock_is_told_before_anything_fails_for_it(world: World) -> None:
    """At first contact, and when it goes wrong later; once it is set, the session goes on."""
    world.now = EPOCH + 120
    session = Session(world.config(), world.surroundings())
    for now in (EPOCH + 120, EPOCH - 120):
        world.now = now
        with pytest.raises(ClockOff, match="NTP"):
            await session.ready()
    world.now = EPOCH
    await session.ready()
    await session.close()


async def test_without_hivemind_the_error_says_what_to_install(world: World) -> None:
    """The base installation has no mesh."""

    def missing(_config: MeshConfig, _validator: RecordValidator) -> Mesh:
        raise ModuleNotFoundError("No module named 'hivemind'", name="hivemind")

    session = Session(world.config(), world.surroundings(create_mesh=missing))
    with pytest.raises(ClientError, match=r"gpunode\[mesh\]"):
        await session.ready()
    await session.close()


@pytest.mark.parametrize("asked_for", ["smollm2", "SmolLM2-135M-Instruct", None])
async def test_a_job_is_priced_by_the_name_that_the_node_advertises(world: World, asked_for: str | None) -> None:
    """A model dearer than its task, asked for by a shorter name: the grant covers the node's price from the start."""
    dear = Price(input_microcredits=1_000, output_microcredits=100_000)
    prices = DEFAULT_PRICES.model_copy(update={"models": {MODEL: dear}})
    world.tracker.info = world.keys.network_info(prices=prices, default_models={})
    world.add_node()
    session = Session(world.config(grant_microcredits=1_000_000), world.surroundings())
    run = await session.start_job(JobWish(Task.LLM, PARAMS, asked_for))
    cost = 1_000 * input_tokens_bound(PARAMS) + 100_000 * 100
    assert run.job.cost.at(prices) == cost
    assert [grant.open_microcredits for grant in world.tracker.grants] == [cost]
    await session.close()


async def test_the_first_grant_is_asked_for_while_nodes_are_looked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the index comes when the grant has been asked for."""
    world.add_node()
    asked = asyncio.Event()
    tracker, index, grant = world.tracker, world.tracker.nodes, world.tracker.grant

    async def nodes(**query: Any) -> NodesReply:
        await asked.wait()
        return await index(**query)

    async def note_and_grant(request: GrantRequest) -> GrantReply:
        asked.set()
        return await grant(request)

    monkeypatch.setattr(tracker, "nodes", nodes)
    monkeypatch.setattr(tracker, "grant", note_and_grant)
    session = Session(world.config(), world.surroundings())
    async with asyncio.timeout(2):  # less than the patience with the index
        await session.start_job(JobWish(Task.LLM, PARAMS, MODEL))
    assert len(tracker.grants) == 1
    await session.close()


async def test_a_grant_for_nothing_serves_the_next_job(world: World) -> None:
    """Nobody does the first one, which says so."""
    session = Session(world.config(), world.surroundings())
    with pytest.raises(NoNodeFound):
        await session.start_job(JobWish(Task.LLM, PARAMS, MODEL))
    world.add_node()
    await session.start_job(JobWish(Task.LLM, PARAMS, MODEL))
    assert len(world.tracker.grants) == 1
    await session.close()


async def test_no_job_waits_for_the_clients_region(world: World) -> None:
    """The tracker does not say; the search goes everywhere at once. Closing does not wait for it either."""
    asked = asyncio.Event()

    async def silent() -> RegionsReply:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.tracker.regions = silent  # type: ignore[method-assign]  # -- never answers
    world.add_node()
    session = Session(world.config(), world.surroundings())
    run = await session.start_job(JobWish(Task.LLM, PARAMS))
    await session.close()
    assert asked.is_set()
    assert run.job.params == PARAMS


async def test_a_region_that_is_set_is_not_asked_for(world: World) -> None:
    """The tracker need not look the address up."""
    session = Session(world.config(region="asia"), world.surroundings())
    await session.ready()
    await session.close()
    assert world.tracker.asked_regions == 0


async def test_staying_at_home_waits_for_the_region(world: World) -> None:
    """A job that may go nowhere else cannot go without it."""

    async def slow() -> RegionsReply:
        await asyncio.sleep(0)
        return regions_reply(CallerPlace(region=Region.EUROPE))

    world.tracker.regions = slow  # type: ignore[method-assign]  # -- it takes its time
    world.add_node()
    neighbour = world.add_node(region=Region.EUROPE)
    session = Session(world.config(widen=False), world.surroundings())
    told = await session.explain(Demand(Task.LLM), None)
    await session.close()
    assert [item.node for item in told.candidates] == [neighbour.peer_id]
    assert (told.home, told.home_from) == ("europe", "geoip")
