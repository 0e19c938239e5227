from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine
from gpunode_engines.errors import NotEnoughMemory
from gpunode_engines.memory_fit import (
    MIN_CONTEXT_TOKENS,
    Room,
    Size,
    card_memory,
    fit,
    machine_without,
    main_memory,
    owners_share,
    taken_bytes,
    within_owners_limit,
)
from gpunode_engines.model_facts import ModelFacts

GIB = 1 << 30
FACTS = ModelFacts(
    quantisation="Q4_0", trained_context_tokens=32_768, weights_bytes=4 * GIB, kv_bytes_per_token=GIB // 4096
)
"""4 GiB of weights, and 1 GiB for each 4,096 tokens of context."""
WANTED = Size(context_tokens=4096, slots=4)


def machine(*free_gib: int, available_gib: int = 16) -> Machine:
    """Return a machine with so much free on its cards and in its memory."""
    gpus = tuple(Gpu(name="A", memory_bytes=24 * GIB, free_memory_bytes=free * GIB) for free in free_gib)
    return Machine(
        physical_cores=1,
        logical_cores=1,
        memory_bytes=32 * GIB,
        available_memory_bytes=available_gib * GIB,
        gpus=gpus,
    )


def room(gib: float) -> Room:
    """Return room of so many GiB."""
    return Room(usable_bytes=int(gib * GIB), name="memory")


@pytest.mark.parametrize(
    ("gib", "slots", "context"),
    [(100, 4, 4096), (8, 4, 4096), (7.9, 3, 4096), (5, 1, 4096), (4.9, 1, 3584), (4.25, 1, 1024)],
)
def test_jobs_give_way_first_then_the_context(gib: float, slots: int, context: int) -> None:
    """The result always fits in the room, and nothing is wasted that would be a whole job."""
    size = fit("m", FACTS, WANTED, room(gib))
    assert (size.slots, size.context_tokens) == (slots, context)
    assert taken_bytes(FACTS, size) <= gib * GIB


def test_what_does_not_fit_is_refused_with_the_figures() -> None:
    """Less than the smallest context, or not even the weights."""
    for gib in (4.24, 4.0, 3.0):
        with pytest.raises(NotEnoughMemory, match=f"m needs at least 4.2 GiB, and {gib:.1f} GiB of memory can be used"):
            fit("m", FACTS, WANTED, room(gib))


def test_a_context_that_was_asked_for_short_is_enough() -> None:
    """Below the usual least; the whole of it must fit then."""
    short = Size(context_tokens=MIN_CONTEXT_TOKENS // 2, slots=2)
    assert fit("m", FACTS, short, room(4.13)) == Size(context_tokens=512, slots=1)
    with pytest.raises(NotEnoughMemory):
        fit("m", FACTS, short, room(4.1))


def test_a_model_without_caches_needs_its_weights_only() -> None:
    """Nothing is divided by zero."""
    facts = ModelFacts(quantisation="F16", trained_context_tokens=512, weights_bytes=GIB, kv_bytes_per_token=0)
    size = Size(context_tokens=512, slots=8)
    assert fit("m", facts, size, room(1)) == size
    with pytest.raises(NotEnoughMemory):
        fit("m", facts, size, room(0.9))


def test_room_in_main_memory_and_on_cards(tmp_path: Path) -> None:
    """Nine tenths of what is free, up to the process limit; one card or all of them, as the backend does."""
    settings = EngineSettings(models_dir=tmp_path, cache_dir=tmp_path)
    assert main_memory(machine(available_gib=10), settings) == Room(usable_bytes=9 * GIB, name="memory")
    limited = main_memory(machine(), settings.model_copy(update={"engine_memory_limit_bytes": GIB}))
    assert limited.usable_bytes == GIB
    assert "GPUNODE_ENGINE_MEMORY_LIMIT_BYTES" in limited.name
    assert card_memory(machine(10, 20), over_all_cards=True).usable_bytes == 27 * GIB
    assert card_memory(machine(10, 20), over_all_cards=False).usable_bytes == 18 * GIB
    assert card_memory(machine(), over_all_cards=False).usable_bytes == 0


def test_the_next_model_gets_what_is_left() -> None:
    """On the CPU of main memory, else of the cards, the emptiest first; never below zero."""
    assert machine_without(machine(8), 10 * GIB, on_gpu=False) == machine(8, available_gib=6)
    assert machine_without(machine(8), 20 * GIB, on_gpu=False).available_memory_bytes == 0
    assert machine_without(machine(8, 20), 22 * GIB, on_gpu=True) == machine(6, 0)
    assert machine_without(machine(8, 20), 50 * GIB, on_gpu=True) == machine(0, 0)


def test_the_owner_keeps_a_part_of_each_card() -> None:
    """In MiB or in percent of the card; what others use already counts as theirs."""
    card = Gpu(name="GTX", memory_bytes=8 * 1024**3, free_memory_bytes=6 * 1024**3)
    machine = Machine(physical_cores=1, logical_cores=1, memory_bytes=1, available_memory_bytes=1, gpus=(card,))
    free = [within_owners_limit(machine, text).gpus[0].free_memory_bytes for text in ("", "50%", "2048", "99%")]
    assert free == [6 * 1024**3, 4 * 1024**3, 2 * 1024**3, 6 * 1024**3]
    assert [owners_share(machine, text) for text in ("", "50%", "2048", "9999999")] == [1, 0.5, 0.25, 1]
    assert owners_share(replace(machine, gpus=()), "50%") == 1
