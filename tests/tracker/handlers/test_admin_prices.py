"""Prices over HTTP."""

from gpunode_protocol import admin_api as admin
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import DEFAULT_PRICES, Price, PriceTable
from gpunode_tracker.scopes import Scope

from tests.tracker.conftest import World

NEW = admin.UnitPrices(input_microcredits=7, output_microcredits=9)
PRICE = Price(input_microcredits=7, output_microcredits=9)
TASKS = dict.fromkeys(DEFAULT_PRICES.tasks, NEW)


async def test_a_new_table_counts_at_once(world: World) -> None:
    """For the network's info and for grants; jobs of earlier grants are paid as agreed."""
    root = await world.key(Scope.ADMIN)
    deal = await world.job()
    assert await world.read(PriceTable, admin.ADMIN_PRICES_PATH, key=root) == DEFAULT_PRICES
    body = admin.PriceOrder(replaces=1, tasks=TASKS, models={"qwen2.5-7b": NEW})
    made = await world.made(PriceTable, admin.ADMIN_PRICES_PATH, body, key=root)
    assert (made.version, made.tasks["llm"], made.models) == (2, PRICE, {"qwen2.5-7b": PRICE})
    assert (await world.read(api.NetworkInfo, api.NETWORK_PATH)).prices == made
    (settled,) = await world.settle(deal.job.item(10))
    assert settled.paid_microcredits == 10 * DEFAULT_PRICES.tasks["llm"].output_microcredits
    _, key = await world.account()
    await world.grant(key, Identity.generate())
    history = await world.read(admin.PricesPage, admin.ADMIN_PRICE_HISTORY_PATH, key=root)
    assert history.prices == (made, DEFAULT_PRICES)


async def test_two_operators(world: World) -> None:
    """The second one is told that the first one was there."""
    root = await world.key(Scope.ADMIN)
    body = admin.PriceOrder(replaces=1, tasks=TASKS)
    await world.made(PriceTable, admin.ADMIN_PRICES_PATH, body, key=root)
    problem = await world.problem(await world.post(admin.ADMIN_PRICES_PATH, body, key=root))
    assert (problem.status, problem.code) == (409, "conflict")


async def test_pages_of_the_history(world: World) -> None:
    """Newest first."""
    root = await world.key(Scope.ADMIN)
    for version in (1, 2):
        await world.made(PriceTable, admin.ADMIN_PRICES_PATH, admin.PriceOrder(replaces=version, tasks=TASKS), key=root)
    first = await world.read(admin.PricesPage, f"{admin.ADMIN_PRICE_HISTORY_PATH}?limit=2", key=root)
    assert ([table.version for table in first.prices], first.next_cursor) == ([3, 2], "2")
    rest = await world.read(
        admin.PricesPage, f"{admin.ADMIN_PRICE_HISTORY_PATH}?limit=2&cursor={first.next_cursor}", key=root
    )
    assert ([table.version for table in rest.prices], rest.next_cursor) == ([1], None)


async def test_a_table_that_lacks_a_task(world: World) -> None:
    """Nothing is changed."""
    root = await world.key(Scope.ADMIN)
    body = admin.PriceOrder(replaces=1, tasks={name: NEW for name in TASKS if name != "whisper"})
    problem = await world.problem(await world.post(admin.ADMIN_PRICES_PATH, body, key=root))
    assert (problem.status, "whisper" in problem.detail) == (422, True)
    assert world.tracker.prices.version == 1
