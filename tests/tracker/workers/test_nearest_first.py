"""A young job is kept for whoever is nearer to its client."""

import pytest
from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.workers.nearest_first import ASKED_LATELY_S, KEEP_S, MOST_LOOKED_AT, NearestFirst
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.selection import Wanted

from tests.tracker.parties import START_AT, TestClock
from tests.tracker.workers.examples import live_worker

NEAR, FAR = live_worker(1, region="europe"), live_worker(2, region="oceania")


def _head(lane: str = "llm/*/*", client_region: str | None = "europe") -> Head:
    """Return a job that came just now."""
    return Head(lane, START_AT * 1000, client_region)


class Scene:
    """Its clocks, and who may not take jobs."""

    def __init__(self) -> None:
        self.clock = TestClock()
        self.resting: set[str] = set()
        self.nearest = NearestFirst(self.clock, self.clock, lambda worker: worker.id not in self.resting)

    def waits(self, *workers: LiveWorker) -> None:
        """Let workers wait."""
        self.nearest.waiting = lambda *_: workers


@pytest.fixture
def scene() -> Scene:
    """The scene."""
    return Scene()


def test_a_nearer_worker_that_waits(scene: Scene) -> None:
    """A farther one, and a farther mesh node, have it only when nobody nearer took it for a second."""
    scene.waits(NEAR, FAR)
    assert scene.nearest.keeps_from_worker(_head(), FAR)
    assert scene.nearest.keeps_from_mesh(_head(), 9_000)
    assert not scene.nearest.keeps_from_worker(_head(), NEAR)
    assert not scene.nearest.keeps_from_mesh(_head(), 0)
    scene.clock.advance(KEEP_S)
    assert not scene.nearest.keeps_from_worker(_head(), FAR)
    assert not scene.nearest.keeps_from_mesh(_head(), 9_000)


def test_a_nearer_worker_that_asked_lately(scene: Scene) -> None:
    """It is taken to ask again; not while it is being answered, and not for long."""
    scene.nearest.asked_in_vain(NEAR)
    assert scene.nearest.keeps_from_worker(_head(), FAR)
    scene.nearest.asks(NEAR)
    assert not scene.nearest.keeps_from_worker(_head(), FAR)
    scene.nearest.asked_in_vain(NEAR)
    scene.clock.advance(ASKED_LATELY_S + 0.1)
    young = Head("llm/*/*", round(scene.clock() * 1000), "europe")
    assert not scene.nearest.keeps_from_worker(young, FAR)


def test_who_asked_long_ago_is_forgotten(scene: Scene) -> None:
    """With the next one that asks, whatever that can do: who does something else every time leaves nothing behind."""
    for number in range(3):
        scene.nearest.asked_in_vain(live_worker(number, region="europe", models=(f"model {number}",)))
        scene.clock.advance(ASKED_LATELY_S + 0.1)
    scene.nearest.asked_in_vain(FAR)
    assert [*scene.nearest._asked_at] == [FAR]
    assert [(km, [*workers]) for km, workers in scene.nearest._asked.able(Wanted(type="llm"))] == [(0, [FAR])]


def test_ten_thousand_that_cannot_do_it(scene: Scene) -> None:
    """Whoever asks is not compared with each of them, nor with all that have enough."""
    compared: list[str] = []

    def may_take(worker: LiveWorker) -> bool:
        compared.append(worker.id)
        return False

    nearest = NearestFirst(scene.clock, scene.clock, may_take)
    for number in range(10_000):
        nearest.asked_in_vain(live_worker(number, region="europe"))
    assert not nearest.keeps_from_worker(_head("image_gen/*/*"), FAR)
    assert compared == []
    assert not nearest.keeps_from_worker(_head(), FAR)
    assert len(compared) == MOST_LOOKED_AT


def test_a_nearer_mesh_node_with_room(scene: Scene) -> None:
    """The dispatch sends it there; one that is as far is no reason to wait."""
    scene.nearest.mesh_km = lambda _: 0
    assert scene.nearest.keeps_from_worker(_head(), FAR)
    assert not scene.nearest.keeps_from_worker(_head(), NEAR)
    scene.nearest.mesh_km = lambda _: None
    assert not scene.nearest.keeps_from_worker(_head(), FAR)


@pytest.mark.parametrize("head", [_head("image_gen/*/*"), _head("llm/oceania/*"), _head(client_region=None)])
def test_a_job_that_is_nobodys_more_than_anothers(scene: Scene, head: Head) -> None:
    """Of a type that the nearer one cannot do, of a region, or from who knows where."""
    scene.waits(NEAR)
    scene.nearest.mesh_km = lambda _: 0 if head.lane != "image_gen/*/*" else None
    assert not scene.nearest.keeps_from_worker(head, FAR)


def test_who_may_take_nothing_is_not_waited_for(scene: Scene) -> None:
    """Because it is in maintenance, or holds enough."""
    scene.waits(NEAR)
    scene.resting.add(NEAR.id)
    assert not scene.nearest.keeps_from_worker(_head(), FAR)


def test_a_clock_that_was_set_back_keeps_nothing(scene: Scene) -> None:
    """Else a job of the future would be kept for hours."""
    scene.waits(NEAR)
    scene.clock.advance(-3_600)
    assert not scene.nearest.keeps_from_worker(_head(), FAR)


def test_priority_is_no_age(scene: Scene) -> None:
    """A job of high priority has the rank of one that is older."""
    scene.waits(NEAR)
    assert scene.nearest.keeps_from_worker(Head("llm/*/*", START_AT * 1000 - 9 * 300_000, "europe", 9), FAR)
