"""The lanes in which an account's jobs wait."""

from gpunode_tracker.storage.named_lanes import named_lanes, waits_in

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.pull_workers import pull_worker, submit


@ON_BOTH
async def test_the_lanes_of_an_account(world: World) -> None:
    """Each once, of jobs that wait and name a model; other accounts' do not count; so many at most."""
    (mine, _), (other, _) = await world.account(), await world.account()
    async with world.tracker.database.read() as connection:
        assert await named_lanes(connection, mine, limit=9) == set()
    await submit(world, mine, model="started")
    await (await pull_worker(world)).next_job()
    for model in ("a", "b", "b", None):
        await submit(world, mine, model=model)
    await submit(world, mine, model="b", region="asia")
    await submit(world, other, model="c")
    async with world.tracker.database.read() as connection:
        assert await named_lanes(connection, mine, limit=9) == {"llm/*/a", "llm/*/b", "llm/asia/b"}
        assert await named_lanes(connection, other, limit=9) == {"llm/*/c"}
        asked = [(mine, "llm/*/b"), (mine, "llm/*/c"), (mine, "llm/*/*"), (mine, "llm/*/started")]
        assert [await waits_in(connection, *each) for each in asked] == [True, False, False, False]
        assert await named_lanes(connection, mine, limit=2) == {"llm/*/a", "llm/*/b"}
