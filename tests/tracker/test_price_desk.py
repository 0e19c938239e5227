"""Publishing prices."""

import asyncio

import pytest
from gpunode_protocol.prices import DEFAULT_PRICES, Price
from gpunode_tracker.audit import Actor
from gpunode_tracker.errors import Conflict, InvalidRequest
from gpunode_tracker.price_desk import PriceDesk
from gpunode_tracker.tracker import Tracker

from tests.tracker.audit_log import entries
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import TestClock

PRICE = Price(input_microcredits=7, output_microcredits=9)
TASKS = dict.fromkeys(DEFAULT_PRICES.tasks, PRICE)
MODELS = {"qwen2.5-7b": PRICE}


@pytest.fixture
def desk(tracker: Tracker, clock: TestClock) -> PriceDesk:
    """The operator's desk."""
    return PriceDesk(tracker.database, clock, Actor("key:k", "192.0.2.1"))


async def test_a_new_table(desk: PriceDesk) -> None:
    """It has the next version, the old one stays for those whose grants name it, and it is noted."""
    table = await desk.publish(TASKS, MODELS, replaces=1)
    assert (table.version, table.models) == (2, MODELS)
    assert await desk.in_force() == table
    assert await desk.history(before_version=99, limit=9) == [table, DEFAULT_PRICES]
    (entry,) = await entries(desk.database)
    assert (entry.actor, entry.action, entry.address) == ("key:k", "prices_published", "192.0.2.1")
    assert (entry.subject, entry.detail) == ("prices:2", {"version": 2, "replaces": 1})


async def test_another_table_came_first(desk: PriceDesk) -> None:
    """Nothing is changed."""
    await desk.publish(TASKS, {})
    with pytest.raises(Conflict, match="Version 2 of the prices is in force"):
        await desk.publish(TASKS, MODELS, replaces=1)
    assert (await desk.in_force()).models == {}


@ON_BOTH
async def test_two_at_once(desk: PriceDesk) -> None:
    """One of them is told; there is one new version."""
    both = (desk.publish(TASKS, MODELS, replaces=1), desk.publish(TASKS, {}, replaces=1))
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "PriceTable"]
    assert [table.version for table in await desk.history(before_version=99, limit=9)] == [2, 1]


@pytest.mark.parametrize(
    ("tasks", "models", "words"),
    [
        ({}, {}, "each of the tasks llm, image_gen, whisper, embedding"),
        ({name: PRICE for name in TASKS if name != "llm"}, {}, "each of the tasks"),
        (TASKS | {"poetry": PRICE}, {}, "each of the tasks"),
        (TASKS, {f"m{number}": PRICE for number in range(501)}, "At most 500"),
        (TASKS | {"llm": Price(input_microcredits=0, output_microcredits=10**9 + 1)}, {}, "at most 1,000,000,000"),
    ],
)
async def test_tables_that_cannot_be_used(
    tasks: dict[str, Price], models: dict[str, Price], words: str, desk: PriceDesk
) -> None:
    """Every job must have a price, and none may be beyond what the ledger holds."""
    with pytest.raises(InvalidRequest, match=words):
        await desk.publish(tasks, models)
    assert (await desk.in_force()).version == 1
