"""Who is in memory together, and what follows from running out."""

from dataclasses import replace

import pytest
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine
from gpunode_engines.memory_plan import Capacity, Need, Resident, described, leaving_for, lowered
from gpunode_protocol.tasks import Task

from tests.engines.scripted_engine import SCRIPTED_PLAN

GIB = 1024**3
CAPACITY = Capacity(main_bytes=10 * GIB, card_bytes=8 * GIB)


def _need(gib: int, *, on_card: bool = False) -> Need:
    return Need(memory_bytes=gib * GIB, on_card=on_card)


def _resident(name: str, gib: int, used_at: float, *, busy: bool = False, on_card: bool = False) -> Resident:
    return Resident(name=name, need=_need(gib, on_card=on_card), used_at=used_at, busy=busy)


def test_what_fits_sends_nobody_away() -> None:
    """Main memory and cards are counted apart."""
    residents = [_resident("a", 6, 1), _resident("b", 8, 2, on_card=True)]
    assert leaving_for(_need(4), residents, CAPACITY) == ()


def test_the_least_recently_used_leave_first() -> None:
    """No more of them than needed."""
    residents = [_resident("new", 3, 30), _resident("old", 3, 10), _resident("middle", 3, 20)]
    assert leaving_for(_need(2), residents, CAPACITY) == ("old",)
    assert leaving_for(_need(5), residents, CAPACITY) == ("old", "middle")


def test_idle_models_leave_before_busy_ones() -> None:
    """A busy one is asked only where the idle ones are not enough."""
    residents = [_resident("busy", 5, 10, busy=True), _resident("idle", 5, 20)]
    assert leaving_for(_need(5), residents, CAPACITY) == ("idle",)
    assert leaving_for(_need(6), residents, CAPACITY) == ("idle", "busy")


def test_a_model_larger_than_all_memory_gets_all_of_its_kind() -> None:
    """The start of its engine tells whether it fits."""
    residents = [_resident("a", 1, 1), _resident("card", 1, 1, on_card=True)]
    assert leaving_for(_need(99), residents, CAPACITY) == ("a",)


def test_capacity_is_that_of_all_engines_together() -> None:
    """The limit of one engine's process bounds only that; every card counts."""
    card = Gpu(name="GTX", memory_bytes=8 * GIB, free_memory_bytes=5 * GIB)
    machine = Machine(
        physical_cores=1, logical_cores=1, memory_bytes=32 * GIB, available_memory_bytes=20 * GIB, gpus=(card, card)
    )
    capacity = Capacity.of(machine, EngineSettings(engine_memory_limit_bytes=GIB))
    assert (capacity.main_bytes, capacity.card_bytes) == (18 * GIB, 9 * GIB)


@pytest.mark.parametrize(
    ("slots", "context", "expected"),
    [(4, 4096, (2, 4096)), (3, 4096, (1, 4096)), (1, 4096, (1, 2048)), (1, 2048, (1, 1024))],
)
def test_lowering_takes_jobs_first_and_then_context(slots: int, context: int, expected: tuple[int, int]) -> None:
    """Half of each, until a chat would have no room."""
    options = replace(SCRIPTED_PLAN.options, slots=slots, context_tokens=context)
    plan = lowered(replace(SCRIPTED_PLAN, options=options))
    assert plan is not None
    assert (plan.options.slots, plan.options.context_tokens) == expected


def test_lowering_ends() -> None:
    """One job with a context that cannot be halved is the least."""
    options = replace(SCRIPTED_PLAN.options, slots=1, context_tokens=1500)
    assert lowered(replace(SCRIPTED_PLAN, options=options)) is None


def _lowerings(task: Task, *, on_card: bool, loaded_with: int = 0) -> list[str]:
    """Lower a plan of one slot until nothing is left."""
    options = replace(SCRIPTED_PLAN.options, slots=1, context_tokens=0, use_gpu=on_card)
    plan = lowered(replace(SCRIPTED_PLAN, task=task, options=options), loaded_with)
    steps = []
    while plan is not None:
        steps.append(described(plan))
        plan = lowered(plan, loaded_with)
    return steps


@pytest.mark.parametrize(
    ("task", "on_card", "steps"),
    [
        (Task.IMAGE_GEN, True, 3), (Task.IMAGE_GEN, False, 2), (Task.WHISPER, True, 3), (Task.WHISPER, False, 0),
        (Task.EMBEDDING, True, 3), (Task.EMBEDDING, False, 3),
    ],
)  # fmt: skip
def test_what_has_no_context_saves_memory_otherwise(task: Task, on_card: bool, steps: int) -> None:
    """Pictures by tiles and offload, speech and embeddings by computing less at once."""
    told = _lowerings(task, on_card=on_card)
    assert told == [
        f"1 job at once, slower and in less memory (step {step} of {steps})" for step in range(1, steps + 1)
    ]


def test_what_the_backend_saved_by_itself_is_not_tried_again() -> None:
    """It had offloaded already: only one step is left."""
    assert len(_lowerings(Task.IMAGE_GEN, on_card=True, loaded_with=2)) == 1


def test_jobs_at_once_go_first_for_speech_too() -> None:
    """And the context of an embedding model stays: it holds no cache."""
    options = replace(SCRIPTED_PLAN.options, slots=2, context_tokens=8192)
    plan = lowered(replace(SCRIPTED_PLAN, task=Task.EMBEDDING, options=options))
    assert plan is not None
    assert (plan.options.slots, plan.options.saving, described(plan)) == (1, 0, "1 job at once")
    plan = lowered(plan)
    assert plan is not None
    assert (plan.options.context_tokens, plan.options.saving) == (8192, 1)
