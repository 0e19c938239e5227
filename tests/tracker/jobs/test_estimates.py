"""Waits follow from who lives and from measured times; where they do not, nothing is invented."""

from typing import Any

import pytest
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.estimates import (
    MANY,
    MAX_COUNTED,
    NOBODY,
    NOT_MEASURED,
    Capacity,
    Estimate,
    Fit,
    Wanted,
    estimate,
    fit_of,
    given_again,
    supply_of,
)

ANY_CHAT = Wanted(Task.LLM, None, None)


def worker(who: str = "worker:1", **changes: Any) -> Capacity:
    """Return a worker for chats in Europe that serves one small model."""
    fields: dict[str, Any] = {
        "tasks": frozenset({Task.LLM}),
        "models": frozenset({"small"}),
        "region": Region.EUROPE,
        "processing_ms": 2_000.0,
    }
    return Capacity(who=who, **{**fields, **changes})


@pytest.mark.parametrize(
    ("wanted", "fit"),
    [
        (ANY_CHAT, Fit.ABLE),
        (Wanted(Task.LLM, Region.EUROPE, "small"), Fit.ABLE),
        (Wanted(Task.WHISPER, None, None), Fit.OTHER_TYPE),
        (Wanted(Task.LLM, Region.EUROPE, "large"), Fit.LACKS_THE_MODEL),
        (Wanted(Task.LLM, Region.ASIA, "small"), Fit.ELSEWHERE),
        (Wanted(Task.LLM, Region.ASIA, "large"), Fit.LACKS_THE_MODEL),
    ],
)
def test_who_can_do_what(wanted: Wanted, fit: Fit) -> None:
    """Type, then model, then region."""
    assert fit_of(worker(), wanted) is fit


def test_who_gets_no_jobs_without_a_model() -> None:
    """A node whose model is not the default one; and nobody knows where it is."""
    node = worker(takes_unnamed=False, region=None)
    assert fit_of(node, ANY_CHAT) is Fit.LACKS_THE_MODEL
    assert fit_of(node, Wanted(Task.LLM, Region.EUROPE, "small")) is Fit.ELSEWHERE


def test_the_note_counts_why_nobody_can() -> None:
    """Each participant once, by what is nearest to fitting."""
    three = [worker("worker:1"), worker("worker:2"), worker("node:3", region=Region.ASIA, models=frozenset({"large"}))]
    supply = supply_of(Wanted(Task.LLM, Region.EUROPE, "large"), three)
    assert supply.note == (
        "No live worker or node can do this now: 3 are online, 2 lack the model, 1 is of another region."
    )
    assert supply_of(Wanted(Task.WHISPER, None, None), three[:1]).note == (
        "No live worker or node can do this now: 1 is online, 1 does not do this type."
    )
    assert supply_of(ANY_CHAT, []).note == NOBODY


def test_a_nodes_models_are_one_participant() -> None:
    """It is counted by the one that comes closest."""
    both = [worker("node:1", models=frozenset({"a"})), worker("node:1", models=frozenset({"b"}), region=Region.ASIA)]
    note = supply_of(Wanted(Task.LLM, Region.AFRICA, "b"), both).note
    assert note.endswith("1 is online, 1 is of another region.")


def test_names_that_mean_a_model() -> None:
    """Where jobs are sent by the client library, which resolves them; workers go by the catalogue's aliases."""
    node = worker("node:1", models=frozenset({"mistral-7b-instruct"}), resolves_names=True)
    plain = worker("worker:1", models=frozenset({"mistral-7b-instruct"}))
    wanted = Wanted(Task.LLM, None, "mistral-7b")
    assert supply_of(wanted, [node, plain]).slots == 1
    other = worker("node:2", models=frozenset({"mistral-7b-base"}), resolves_names=True)
    assert supply_of(wanted, [node, other]).note.endswith("2 are online, 2 lack the model.")
    of_catalogue = worker("worker:1", models=frozenset({"qwen2.5-7b-instruct"}))
    assert supply_of(Wanted(Task.LLM, None, "qwen2.5-7b"), [of_catalogue, plain]).slots == 1


def test_slots_of_all_who_can() -> None:
    """Mean times weigh by slots; who was not measured does not count into them."""
    supply = supply_of(
        ANY_CHAT,
        [
            worker("a", slots=3, busy=1, processing_ms=1_000.0),
            worker("b", slots=1, processing_ms=5_000.0),
            worker("c", slots=4, processing_ms=None),
            worker("d", tasks=frozenset({Task.WHISPER})),
        ],
    )
    assert (supply.slots, supply.busy, supply.processing_ms, supply.note) == (8, 1, 2_000.0, "")


def test_lanes_that_stand_before_the_same_workers() -> None:
    """The own one first; of those that have jobs, all that one of the same workers may take from, in their order."""
    queued = ("llm/europe/small", "llm/*/*", "whisper/*/*", "llm/*/large", "llm/asia/small", "llm/europe/*")
    supply = supply_of(Wanted(Task.LLM, None, None), [worker()], queued)
    assert supply.lanes == ("llm/*/*", "llm/europe/small", "llm/europe/*")


def test_lanes_before_whoever_may_come() -> None:
    """Where nobody is there who can do it, those of the jobs that go to whoever comes first."""
    queued = ("llm/*/*", "llm/europe/*", "llm/*/X", "llm/asia/y")
    assert supply_of(Wanted(Task.LLM, Region.ASIA, "x"), [worker()], queued).lanes == (
        "llm/asia/x",
        "llm/*/*",
        "llm/*/X",
    )


def test_lanes_of_other_names_of_the_same_model() -> None:
    """An alias, other letters, and at nodes any name that means it."""
    queued = ("llm/*/qwen2.5-7b", "llm/*/QWEN2.5-7B-Instruct", "llm/*/qwen2.5", "llm/*/qwen2.5-0.5b")
    wanted, models = Wanted(Task.LLM, None, "qwen2.5-7b-instruct"), frozenset({"qwen2.5-7b-instruct"})
    assert supply_of(wanted, [worker(models=models)], queued).lanes[1:] == queued[:2]
    assert supply_of(wanted, [worker(models=models, resolves_names=True)], queued).lanes[1:] == queued[:3]


def test_lanes_of_somebody_who_takes_everything() -> None:
    """Whatever model jobs name."""
    supply = supply_of(ANY_CHAT, [worker(models=None)], ("llm/*/large", "llm/africa/large"))
    assert supply.lanes == ("llm/*/*", "llm/*/large")


def test_lanes_are_not_without_end() -> None:
    """Those count that matter most."""
    queued = tuple(f"llm/*/m{number}" for number in range(100))
    assert supply_of(Wanted(Task.LLM, None, "m99"), [worker(models=None)], queued).lanes == (
        "llm/*/m99",
        *queued[:47],
    )


@pytest.mark.parametrize(
    ("ahead", "busy", "slots", "wait_s"),
    [
        (0, 0, 1, 0.0),
        (0, 1, 1, 2.0),
        (1, 0, 1, 2.0),
        (3, 0, 4, 0.0),
        (4, 0, 4, 0.5),
        (10, 2, 4, 4.5),
    ],
)
def test_the_wait(ahead: int, busy: int, slots: int, wait_s: float) -> None:
    """As many jobs as have to end before there is a free slot, times what one takes, by all slots."""
    supply = supply_of(ANY_CHAT, [worker(slots=slots, busy=busy)])
    assert estimate(supply, ahead, None) == Estimate(ahead, wait_s)


def test_what_jobs_took_lately_counts_more_than_a_stated_speed() -> None:
    """It is of this network's own jobs."""
    assert estimate(supply_of(ANY_CHAT, [worker()]), 1, 6_000.0).wait_s == 6.0


NODE_A, NODE_B, WORKER = "node:a", "node:b", "worker:1"


@pytest.mark.parametrize(
    ("able", "failures", "again_at"),
    [
        ({WORKER}, [(WORKER, 100)], {WORKER: 110}),
        ({WORKER, "worker:2"}, [(WORKER, 100)], {WORKER: 160}),
        ({WORKER}, [("worker:2", 100)], {}),
        ({NODE_A}, [("dispatch:r1", 100)], {NODE_A: 110}),
        ({NODE_A}, [("dispatch:r1", 100), ("dispatch:r2", 108)], {NODE_A: 118}),
        ({NODE_A, NODE_B}, [("dispatch:r1", 100)], {}),
        ({NODE_A, NODE_B}, [("dispatch:r1", 100), ("dispatch:r2", 108)], {NODE_A: 110, NODE_B: 110}),
        ({NODE_A, WORKER}, [("dispatch:r1", 100), (WORKER, 105)], {NODE_A: 110, WORKER: 165}),
        ({WORKER}, [("dispatch:r1", 100)], {}),
    ],
)
def test_when_those_get_a_job_again_who_failed_it(
    able: set[str], failures: list[tuple[str, int]], again_at: dict[str, int]
) -> None:
    """Workers after a minute, sooner if they are alone; nodes when fewer of them than there are failed it lately."""
    assert given_again(able, failures) == again_at


def test_what_was_never_measured() -> None:
    """Is said to be so; only no wait needs no measurement."""
    supply = supply_of(ANY_CHAT, [worker(processing_ms=None)])
    assert estimate(supply, 0, None) == Estimate(0, 0.0)
    assert estimate(supply, 5, None) == Estimate(5, None, NOT_MEASURED)


@pytest.mark.parametrize("slots", [1, 10_000])
def test_behind_more_jobs_than_are_counted(slots: int) -> None:
    """There is no estimate, which would be of those that were counted only."""
    supply = supply_of(ANY_CHAT, [worker(slots=slots)])
    assert estimate(supply, MAX_COUNTED - 1, None).wait_s is not None
    assert estimate(supply, MAX_COUNTED, None) == Estimate(MAX_COUNTED, None, MANY)
    assert estimate(supply_of(ANY_CHAT, []), MAX_COUNTED, None).note == NOBODY


def test_nobody_means_no_estimate() -> None:
    """However much was measured before."""
    assert estimate(supply_of(ANY_CHAT, []), 2, 1_000.0) == Estimate(2, None, NOBODY)
