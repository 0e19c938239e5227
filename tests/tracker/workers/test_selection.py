"""The original plan's ``select_worker``."""

from gpunode_tracker.workers.selection import Wanted, ranked, region_distance_km, select_worker, way_km
from gpunode_tracker.workers.statistics import Statistics

from tests.tracker.workers.examples import live_worker, worker_id

CHAT = Wanted(type="llm")


def _ids(job: Wanted, *workers: object) -> list[str]:
    return [worker.id for worker in ranked(job, workers)]  # type: ignore[arg-type]  # -- live workers


def test_the_region_that_was_asked_for() -> None:
    """Nobody else, however good."""
    asia = live_worker(1, region="asia", statistics=Statistics(success_rate=0.1))
    europe = live_worker(2, region="europe")
    assert _ids(Wanted(type="llm", region="asia"), europe, asia) == [worker_id(1)]
    assert select_worker(Wanted(type="llm", region="africa"), [europe, asia]) is None


def test_without_a_region_the_nearest_to_the_client_goes_first() -> None:
    """Before success rate, latency and memory."""
    near = live_worker(1, region="europe", statistics=Statistics(success_rate=0.5), gpu_memory_gb=4.0)
    far = live_worker(2, region="oceania")
    job = Wanted(type="llm", client_region="africa")
    assert _ids(job, far, near) == [worker_id(1), worker_id(2)]
    assert way_km(job, near) < way_km(job, far)
    assert way_km(Wanted(type="llm", region="oceania", client_region="africa"), far) == 0


def test_ability() -> None:
    """The type must be supported, and a model that was asked for served; no list of models is any model."""
    images = live_worker(1, supported_types=("image_gen",))
    other = live_worker(2, models=("other",))
    some = live_worker(3, models=("wanted", "other"))
    anything = live_worker(4)
    assert _ids(CHAT, images, other, some, anything) == [worker_id(2), worker_id(3), worker_id(4)]
    assert _ids(Wanted(type="llm", model="wanted"), images, other, some, anything) == [worker_id(3), worker_id(4)]


def test_success_rate_then_latency_then_memory() -> None:
    """In this order; who was not measured yet stands behind who was."""
    workers = [
        live_worker(1, statistics=Statistics(success_rate=0.9, avg_latency_ms=1)),
        live_worker(2, statistics=Statistics(avg_latency_ms=900)),
        live_worker(3, statistics=Statistics(avg_latency_ms=100), gpu_memory_gb=8.0),
        live_worker(4, statistics=Statistics(avg_latency_ms=100), gpu_memory_gb=80.0),
        live_worker(5),
    ]
    assert _ids(CHAT, *workers) == [worker_id(number) for number in (4, 3, 2, 5, 1)]
    best = select_worker(CHAT, workers)
    assert best is not None
    assert best.id == worker_id(4)


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
