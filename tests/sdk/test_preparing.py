"""What the tracker is asked while the mesh is joined: seen by what it was asked when the mesh has just started."""

import asyncio
from typing import Any

import pytest
from gpunode._job_wish import JobWish
from gpunode._session import Session
from gpunode.routing import Limits
from gpunode_protocol.mesh import Mesh, MeshConfig, RecordValidator
from gpunode_protocol.payloads import ChatMessage, LlmParams
from gpunode_protocol.prices import DEFAULT_PRICES, Price
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import CallerPlace, NodesReply

from tests.sdk.memory_mesh import MemoryMesh
from tests.sdk.world import MODEL, World, regions_reply

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)


class _Opening:
    """A session whose mesh takes its time, and what the tracker was asked until then."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.world = world
        self.indexes: list[dict[str, Any]] = []
        self.before_join: tuple[int, int] | None = None
        index = world.tracker.nodes

        async def nodes(**query: Any) -> NodesReply:
            self.indexes.append(query)
            return await index(**query)

        monkeypatch.setattr(world.tracker, "nodes", nodes)
        self.session = Session(world.config(**settings), world.surroundings(create_mesh=self._mesh))

    def _mesh(self, config: MeshConfig, validator: RecordValidator) -> Mesh:
        mesh = MemoryMesh(self.world.mesh, config, validator, self.world.clock)
        start = mesh.start

        async def slowly() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            self.before_join = len(self.indexes), len(self.world.tracker.grants)
            await start()

        mesh.start = slowly  # type: ignore[method-assign]  # -- it takes its time
        return mesh


async def test_index_and_grant_are_there_when_the_mesh_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first job asks for neither again."""
    world.add_node()
    opening = _Opening(world, monkeypatch)
    await opening.session.start_job(JobWish(Task.LLM, PARAMS, MODEL))
    assert opening.before_join == (1, 1)
    assert (len(opening.indexes), len(world.tracker.grants)) == (1, 1)
    await opening.session.close()


async def test_who_only_connects_reserves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default language model's nodes are looked for all the same."""
    world.add_node()
    opening = _Opening(world, monkeypatch)
    await opening.session.ready()
    assert opening.before_join == (1, 0)
    assert opening.indexes[0]["model"] == MODEL
    await opening.session.start_job(JobWish(Task.LLM, PARAMS))
    assert len(opening.indexes) == 1
    await opening.session.close()


async def test_a_network_without_defaults_is_asked_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what will be wanted."""
    world.tracker.info = world.keys.network_info(default_models={})
    opening = _Opening(world, monkeypatch)
    await opening.session.ready()
    assert opening.before_join == (0, 0)
    await opening.session.close()


async def test_where_models_have_prices_the_grant_waits_for_the_node(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model's name decides what the grant must cover."""
    dear = Price(input_microcredits=1_000, output_microcredits=100_000)
    world.tracker.info = world.keys.network_info(prices=DEFAULT_PRICES.model_copy(update={"models": {MODEL: dear}}))
    world.add_node()
    opening = _Opening(world, monkeypatch)
    await opening.session.start_job(JobWish(Task.LLM, PARAMS, MODEL))
    assert opening.before_join == (1, 0)
    assert len(world.tracker.grants) == 1
    await opening.session.close()


async def test_who_stays_at_home_is_told_of_that_region(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job asks for no other index."""
    world.add_node()
    opening = _Opening(world, monkeypatch, widen=False, region="asia")
    await opening.session.start_job(JobWish(Task.LLM, PARAMS, MODEL))
    assert opening.before_join == (1, 1)
    assert [query["region"] for query in opening.indexes] == [Region.ASIA]
    await opening.session.close()


@pytest.mark.parametrize("limits", [None, Limits(widen=False)])
async def test_while_home_is_not_known_nothing_is_asked_in_vain(
    world: World, monkeypatch: pytest.MonkeyPatch, limits: Limits | None
) -> None:
    """Where the job must stay at home: its own search asks, once that is known."""
    world.add_node()
    opening = _Opening(world, monkeypatch)
    world.tracker.places = regions_reply(CallerPlace(region=Region.ASIA, country="JP"), asia=1)
    await opening.session.start_job(JobWish(Task.LLM, PARAMS, MODEL, limits=limits))
    assert opening.before_join == ((1, 1) if limits is None else (0, 1))
    assert [query["region"] for query in opening.indexes] == [None if limits is None else Region.ASIA]
    await opening.session.close()
