"""What a usage costs."""

import pytest
from gpunode_protocol.payloads import Usage
from gpunode_protocol.prices import (
    DEFAULT_PRICES,
    MICROCREDITS_PER_CREDIT,
    Price,
    PriceTable,
    input_units,
    output_units,
)
from gpunode_protocol.tasks import Task

USAGE = Usage(input_tokens=3, output_tokens=5, resumed_tokens=7, images=2, image_units=11, audio_ms=13)


@pytest.mark.parametrize(
    ("task", "units"),
    [(Task.LLM, (10, 5)), (Task.EMBEDDING, (10, 0)), (Task.IMAGE_GEN, (0, 11)), (Task.WHISPER, (0, 13))],
)
def test_units(task: Task, units: tuple[int, int]) -> None:
    """Each task bills its own units; resumed ids are input."""
    assert (input_units(task, USAGE), output_units(task, USAGE)) == units


def test_every_task_has_a_price() -> None:
    """A new tracker charges something for every task."""
    for task in Task:
        price = DEFAULT_PRICES.price_of(task, "any")
        assert price.input_microcredits + price.output_microcredits > 0


def test_cost() -> None:
    """Units times price, in micro-credits."""
    cost = DEFAULT_PRICES.cost_microcredits(Task.LLM, "any", input_units=17, output_units=10)
    assert cost == 17 * 10 + 10 * 30
    assert MICROCREDITS_PER_CREDIT == 1_000_000


def test_model_refines_the_task() -> None:
    """A model with a price of its own is charged that, even when it is free."""
    free = Price(input_microcredits=0, output_microcredits=0)
    table = PriceTable(version=2, tasks=dict(DEFAULT_PRICES.tasks), models={"free": free})
    assert table.price_of(Task.LLM, "free") == free
    assert table.price_of(Task.LLM, "other") == DEFAULT_PRICES.tasks["llm"]


def test_task_without_price() -> None:
    """A table that does not know a task has no price for it."""
    with pytest.raises(KeyError):
        PriceTable(version=1, tasks={}).price_of(Task.LLM, "any")


def test_json_round_trip() -> None:
    """The table travels as JSON."""
    assert PriceTable.model_validate_json(DEFAULT_PRICES.model_dump_json()) == DEFAULT_PRICES
