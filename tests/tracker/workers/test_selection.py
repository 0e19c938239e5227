"""Whose turn it is: the original plan's ``select_worker`` and its weights."""

import random
from collections import Counter

import pytest
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.selection import Wanted, can_do, region_distance_km, turn_order
from gpunode_tracker.workers.statistics import Statistics

from tests.tracker.workers.examples import live_worker, worker_id

CHAT = Wanted(type="llm")
SMALL: dict[str, object] = {"gpu_memory_gb": 4.0}


def _order(job: Wanted, *workers: LiveWorker, seed: int = 6) -> list[str]:
    return [worker.id for worker in turn_order(job, workers, random.Random(seed), now=0.0)]


def _firsts(*workers: LiveWorker, count: int = 4_000) -> dict[str, float]:
    """Return how often each is first, as a share."""
    rng = random.Random(6)
    firsts = Counter(turn_order(CHAT, workers, rng, now=0.0)[0].id for _ in range(count))
    return {worker.id: firsts[worker.id] / count for worker in workers}


def test_the_region_that_was_asked_for() -> None:
    """Nobody else, however good."""
    asia = live_worker(1, region="asia", statistics=Statistics(success_rate=0.1))
    europe = live_worker(2, region="europe")
    assert _order(Wanted(type="llm", region="asia"), europe, asia) == [worker_id(1)]
    assert _order(Wanted(type="llm", region="africa"), europe, asia) == []


def test_without_a_region_the_nearest_to_the_client_goes_first() -> None:
    """Before weight, success rate, latency and memory."""
    near = live_worker(1, region="europe", statistics=Statistics(success_rate=0.01), gpu_memory_gb=4.0)
    far = live_worker(2, region="oceania")
    job = Wanted(type="llm", client_region="africa")
    for seed in range(50):
        assert _order(job, far, near, seed=seed) == [worker_id(1), worker_id(2)]
    assert job.way_km("europe") < job.way_km("oceania")
    assert Wanted(type="llm", region="oceania", client_region="africa").way_km("oceania") == 0


def test_ability() -> None:
    """The type must be supported, and a model that was asked for served; no list of models is any model."""
    images = live_worker(1, supported_types=("image_gen",))
    other = live_worker(2, models=("other",))
    some = live_worker(3, models=("wanted", "other"))
    anything = live_worker(4)
    assert set(_order(CHAT, images, other, some, anything)) == {worker_id(2), worker_id(3), worker_id(4)}
    assert [can_do(Wanted(type="llm", model="wanted"), each) for each in (images, other, some, anything)] == [
        False,
        False,
        True,
        True,
    ]


def test_the_lot_falls_on_a_weight() -> None:
    """As often as the plan's formula says, within three percent of all, with as many of a weight as there are."""
    large, medium = live_worker(1, gpu_memory_gb=24.0), live_worker(2, gpu_memory_gb=12.0)
    small = [live_worker(number, gpu_memory_gb=4.0) for number in (3, 4)]
    firsts = _firsts(large, medium, *small)
    assert firsts[large.id] == pytest.approx(150 / 470, abs=0.03)
    assert firsts[medium.id] == pytest.approx(120 / 470, abs=0.03)
    assert firsts[small[0].id] + firsts[small[1].id] == pytest.approx(200 / 470, abs=0.03)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (SMALL | {"statistics": Statistics(success_rate=0.99)}, SMALL | {"statistics": Statistics(success_rate=0.98)}),
        (
            {"statistics": Statistics(avg_latency_ms=100), "gpu_memory_gb": 24.0},
            {"statistics": Statistics(avg_latency_ms=900), "gpu_memory_gb": 80.0},
        ),
        ({"gpu_memory_gb": 80.0}, {"gpu_memory_gb": 24.0}),
        (
            SMALL | {"statistics": Statistics(success_rate=0.99, avg_latency_ms=900)},
            SMALL | {"statistics": Statistics(success_rate=0.98, avg_latency_ms=100)},
        ),
        ({"statistics": Statistics()}, {"statistics": Statistics(avg_latency_ms=100)}),
    ],
    ids=["success rate", "latency before memory", "memory", "success rate before latency", "not measured yet"],
)
def test_of_one_weight_the_better_goes_first(better: dict[str, object], worse: dict[str, object]) -> None:
    """By success rate, then latency, then memory; who was not measured yet is measured first."""
    one, other = live_worker(1, **worse), live_worker(2, **better)
    for seed in range(50):
        assert _order(CHAT, one, other, seed=seed) == [other.id, one.id]


def test_of_equals_each_has_its_share() -> None:
    """A latency that differs by a few percent decides nothing for ever."""
    one = live_worker(1, statistics=Statistics(avg_latency_ms=1_000))
    other = live_worker(2, statistics=Statistics(avg_latency_ms=1_020))
    assert _firsts(one, other)[one.id] == pytest.approx(0.5, abs=0.05)


def test_everybody_is_in_the_order_once() -> None:
    """However light."""
    workers = [
        live_worker(number, gpu_memory_gb=float(number), statistics=Statistics(success_rate=1 / number))
        for number in range(1, 30)
    ]
    assert sorted(_order(CHAT, *workers)) == sorted(worker.id for worker in workers)


def test_distances_of_regions() -> None:
    """Between their reference points; a place that is not known is near to all."""
    assert region_distance_km("europe", "europe") == 0
    assert region_distance_km("europe", None) == 0
    assert region_distance_km("europe", "asia") == region_distance_km("asia", "europe") > 9_000


def test_what_a_lane_asks_for() -> None:
    """Its three parts."""
    assert Wanted.of_lane("llm/asia/m", "europe") == Wanted(
        type="llm", region="asia", model="m", client_region="europe"
    )
    assert Wanted.of_lane("llm/*/*", None) == CHAT
