"""Jobs for models that nobody has named."""

import pytest
from gpunode_protocol.prices import Price
from gpunode_protocol.tasks import Task
from gpunode_tracker.errors import Conflict
from gpunode_tracker.jobs import invented_names
from gpunode_tracker.jobs.invented_names import is_known

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.pull_workers import pull_worker, stored_job, submit


@pytest.fixture(autouse=True)
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the jobs of an account wait for two kinds of models that are not known."""
    monkeypatch.setattr(invented_names, "MAX_KINDS", 2)


@pytest.fixture
async def owner(world: World) -> str:
    """An account."""
    return (await world.account())[0]


@ON_BOTH
async def test_few_kinds_wait_for_models_that_nobody_serves(world: World, owner: str) -> None:
    """Beyond, one more is refused and nothing is reserved; more of the same are taken, and others when one has gone."""
    await submit(world, owner, model="m1")
    first = await submit(world, owner, model="m1", region="asia")
    for fields in ({"model": "m2"}, {"model": "m1", "region": "europe"}):
        with pytest.raises(Conflict, match="Nobody serves this model now, and jobs of 2 kinds"):
            await submit(world, owner, **fields)
    (balance,) = [reply for account, reply in await world.admin.balances() if account.id == owner]
    await submit(world, owner, model="m1")
    (after,) = [reply for account, reply in await world.admin.balances() if account.id == owner]
    assert 3 * (after.reserved_microcredits - balance.reserved_microcredits) == after.reserved_microcredits
    await submit(world, (await world.account())[0], model="m2")
    await world.tracker.desk.cancel(await stored_job(world, first))
    await submit(world, owner, model="m2")


async def test_models_that_are_known(world: World, owner: str) -> None:
    """Of the network's defaults, of the prices, of a live worker, or none named: any number waits."""
    tracker = world.tracker
    for model in ("m1", "m2"):
        await submit(world, owner, model=model)
    default = tracker.settings.default_models[Task.LLM]
    priced = {"priced": Price(input_microcredits=1, output_microcredits=1)}
    tracker.prices = tracker.prices.model_copy(update={"models": priced})
    await (await pull_worker(world, models=["served"])).heartbeat()
    tracker.outlook.forget()
    for model in (default, "priced", "served", None):
        await submit(world, owner, model=model)
    with pytest.raises(Conflict):
        await submit(world, owner, model="m3")


async def test_other_names_of_known_models(world: World) -> None:
    """The catalogue's aliases as it writes them: they are few, other letters are not."""
    await (await pull_worker(world, models=["qwen2.5-7b-instruct"])).heartbeat()
    assert await is_known(world.tracker, Task.LLM, "qwen2.5-7b")
    for model in ("Qwen2.5-7b", "qwen2.5-7b-1", "qwen2.5-1.5b"):
        assert not await is_known(world.tracker, Task.LLM, model)


async def test_whoever_serves_anything_names_nothing(world: World) -> None:
    """Nor does a longer form of a name that is served count: there is no end to those."""
    for models in ([], ["served"]):
        await (await pull_worker(world, models=models)).heartbeat()
    assert await is_known(world.tracker, Task.LLM, "served")
    for task, model in ((Task.LLM, "m1"), (Task.LLM, "served-1"), (Task.WHISPER, "served")):
        assert not await is_known(world.tracker, task, model)


async def test_the_same_by_its_key(world: World) -> None:
    """A submission that comes again names its job, whatever waits by then."""
    _, key = await world.account()
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    body = {"type": "llm", "params": {"messages": [{"role": "user", "content": "Hi"}]}, "model": "m0"}
    first = await world.http.post("/api/v1/jobs", json=body, headers=headers)
    for number in (1, 2):
        answer = await world.http.post(
            "/api/v1/jobs", json=body | {"model": f"m{number}"}, headers=headers | {"Idempotency-Key": f"k{number}"}
        )
    assert (first.status, answer.status) == (202, 409)
    assert (await world.problem(answer)).code == "conflict"
    assert (await world.http.post("/api/v1/jobs", json=body, headers=headers)).status == 200


async def test_many_kinds_that_are_known(world: World, owner: str) -> None:
    """Do not keep a job out of a lane in which another one waits already."""
    await submit(world, owner, model="x1")
    default = world.tracker.settings.default_models[Task.LLM]
    for region in ("asia", "europe", "africa"):
        await submit(world, owner, model=default, region=region)
    await submit(world, owner, model="x1")
    with pytest.raises(Conflict):
        await submit(world, owner, model="x2")
