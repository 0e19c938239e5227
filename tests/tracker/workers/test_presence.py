"""Who is there."""

from typing import Any

import pytest
from gpunode_protocol.jobs_api import WorkerHeartbeat
from gpunode_tracker.workers.presence import SILENT_S, SILENT_WITH_JOB_S, WRITE_INTERVAL_S, LiveWorker, Presence
from gpunode_tracker.workers.statistics import Statistics
from gpunode_tracker.workers.worker import WorkerStatus

from tests.tracker.parties import START_AT, TestClock
from tests.tracker.workers.examples import stored_worker

ONLINE, BUSY, OFFLINE = WorkerStatus


class Scene:
    """A presence, its two clocks, and one worker that was just heard."""

    def __init__(self) -> None:
        self.clock, self.monotonic = TestClock(), TestClock(1_000)
        self.presence = Presence(self.monotonic, self.clock)
        self.worker = self.meet()
        self.presence.hear(self.worker)

    def meet(self, held: dict[str, int] | None = None, **changes: Any) -> LiveWorker:
        """Read the worker from the database."""
        return self.presence.meet(stored_worker(**changes), held or {}, read_at=self.monotonic())

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.clock.advance(seconds)
        self.monotonic.advance(seconds)

    @property
    def status(self) -> WorkerStatus:
        """What the worker's status is now."""
        return self.presence.status_of(self.worker.id)


@pytest.fixture
def scene() -> Scene:
    """The scene."""
    return Scene()


def _heartbeat(status: str = "online", **fields: Any) -> WorkerHeartbeat:
    return WorkerHeartbeat.model_validate({"status": status, **fields})


def test_a_worker_that_was_never_heard_is_off(scene: Scene) -> None:
    """Registering is no sign of life yet."""
    other = scene.meet(id="11111111-0000-4000-8000-000000000000")
    assert scene.presence.status_of(other.id) is OFFLINE
    assert scene.presence.status_of("unknown") is OFFLINE
    assert scene.presence.live() == [scene.worker]


def test_silence(scene: Scene) -> None:
    """Off after 150 s without a job."""
    scene.advance(SILENT_S)
    assert scene.status is ONLINE
    scene.advance(1)
    assert scene.status is OFFLINE
    scene.presence.hear(scene.worker)
    assert scene.status is ONLINE


def test_silence_with_a_job(scene: Scene) -> None:
    """Off after 60 s; once its lease went, it stays off until it is heard."""
    scene.presence.hold(scene.worker.id, "j", 1)
    assert scene.status is BUSY
    scene.advance(SILENT_WITH_JOB_S + 1)
    assert scene.status is OFFLINE
    scene.presence.lose(scene.worker.id, "j")
    assert scene.status is OFFLINE
    scene.presence.hear(scene.worker)
    assert scene.status is ONLINE


def test_a_worker_that_lost_a_job_but_is_heard_stays(scene: Scene) -> None:
    """It may have held the job without saying so."""
    scene.presence.hold(scene.worker.id, "j", 1)
    scene.presence.lose(scene.worker.id, "j")
    assert scene.status is ONLINE


def test_its_own_word(scene: Scene) -> None:
    """Busy and offline count as said; who said goodbye and asks for a job again is back."""
    scene.presence.beat(scene.worker, _heartbeat("busy"))
    assert scene.status is BUSY
    scene.presence.beat(scene.worker, _heartbeat("offline"))
    assert scene.status is OFFLINE
    scene.presence.asks(scene.worker)
    assert scene.status is ONLINE


def test_who_said_goodbye_and_ends_its_jobs_stays_off(scene: Scene) -> None:
    """Its tokens and results are no wish for more; a call for a job is."""
    scene.presence.hold(scene.worker.id, "job", 1)
    scene.presence.beat(scene.worker, _heartbeat("offline"))
    scene.presence.hear(scene.worker)
    assert scene.status is OFFLINE
    scene.presence.beat(scene.worker, _heartbeat("offline"))
    scene.presence.hear(scene.worker)
    assert scene.status is OFFLINE
    scene.presence.asks(scene.worker)
    assert scene.status is BUSY
    scene.presence.hear(scene.worker)
    assert scene.status is BUSY


def test_what_a_heartbeat_says(scene: Scene) -> None:
    """Types and models stay as they are unless it names them, memory unless it knows it."""
    gpu = {"memory_used": 4.5, "memory_total": 16.0}
    scene.presence.beat(scene.worker, _heartbeat(gpu_info=gpu, supported_types=("whisper",), models=("m",)))
    stored = scene.worker.stored
    assert (stored.gpu_memory_gb, stored.memory_used_gb) == (16.0, 4.5)
    assert (stored.supported_types, stored.models) == (("whisper",), ("m",))
    scene.presence.beat(scene.worker, _heartbeat())
    assert (scene.worker.stored.gpu_memory_gb, scene.worker.stored.supported_types) == (16.0, ("whisper",))


def test_a_clock_that_jumps_makes_nobody_appear_or_vanish(scene: Scene) -> None:
    """An hour forward or back on the wall clock is no silence and no word."""
    for jump_s in (3_600, -7_200):
        scene.clock.advance(jump_s)
        assert scene.status is ONLINE
        assert scene.presence.heard_at_unix(scene.worker) == int(scene.clock())
    scene.monotonic.advance(SILENT_S + 1)
    assert scene.status is OFFLINE


def test_only_changes_and_long_silences_are_written(scene: Scene) -> None:
    """A worker that only goes on living goes to the database twice a minute."""
    assert scene.presence.take_changes() == [scene.worker]
    for _ in range(3):
        scene.advance(9)
        scene.presence.hear(scene.worker)
        assert scene.presence.take_changes() == []
    scene.advance(WRITE_INTERVAL_S - 27)
    scene.presence.hear(scene.worker)
    assert scene.presence.take_changes() == [scene.worker]
    scene.presence.beat(scene.worker, _heartbeat("busy"))
    assert scene.presence.take_changes() == [scene.worker]
    assert scene.worker.written_status is BUSY
    scene.advance(SILENT_S + 1)
    assert scene.presence.take_changes() == [scene.worker]
    assert scene.worker.written_status is OFFLINE


def test_changes_that_could_not_be_written_come_again(scene: Scene) -> None:
    """The database was away."""
    changes = scene.presence.take_changes()
    scene.presence.put_back(changes)
    assert scene.presence.take_changes() == changes


def test_who_is_silent_is_forgotten_after_its_last_word_was_written(scene: Scene) -> None:
    """Memory is for those who live."""
    scene.presence.take_changes()
    assert scene.presence.drop_silent() == []
    scene.advance(SILENT_S + 1)
    scene.presence.take_changes()
    assert scene.presence.drop_silent() == [scene.worker.id]
    assert len(scene.presence) == 0


def test_the_database_is_believed_in_what_others_decide(scene: Scene) -> None:
    """Statistics, maintenance and bans; not the life that is seen here, nor what was changed here since."""
    statistics = Statistics(avg_latency_ms=1, success_rate=0.5, total_jobs=2)
    read_at = scene.monotonic()
    row = stored_worker(status=OFFLINE, statistics=statistics, maintenance=True)
    scene.presence.meet(row, {}, ban="spam", read_at=read_at)
    assert scene.worker.stored.statistics == statistics
    assert (scene.worker.stored.maintenance, scene.worker.ban, scene.worker.may_work) == (True, "spam", False)
    assert scene.status is ONLINE
    scene.advance(1)
    scene.presence.amend(scene.worker.id, maintenance=False, statistics=Statistics())
    scene.presence.meet(row, {}, read_at=read_at)
    assert scene.worker.may_work
    assert scene.worker.stored.statistics == Statistics()


def test_what_another_replica_heard(scene: Scene) -> None:
    """Its newer word counts: types, status, time."""
    scene.advance(100)
    scene.meet(status=BUSY, last_heartbeat=START_AT + 90, supported_types=("whisper",))
    assert scene.status is BUSY
    assert scene.worker.stored.supported_types == ("whisper",)
    scene.advance(SILENT_S - 10)
    assert scene.status is BUSY
    scene.advance(1)
    assert scene.status is OFFLINE


def test_an_instant_in_the_future_says_nothing(scene: Scene) -> None:
    """It was written before the clock was set back: a dead worker is not alive for an hour."""
    other = scene.meet(id="11111111-0000-4000-8000-000000000000", status=ONLINE, last_heartbeat=START_AT + 3_600)
    assert scene.presence.status_of(other.id) is OFFLINE


def test_jobs_by_the_database(scene: Scene) -> None:
    """What was given or ended here since it was read is known better here."""
    read_at = scene.monotonic()
    scene.advance(1)
    scene.presence.hold(scene.worker.id, "new", 1)
    scene.presence.hold(scene.worker.id, "ended", 1)
    scene.presence.release(scene.worker.id, "ended")
    scene.presence.meet(stored_worker(), {"elsewhere": 2, "ended": 1}, read_at=read_at)
    assert {job: held.attempt for job, held in scene.worker.holding.items()} == {"new": 1, "elsewhere": 2}
    scene.advance(1)
    scene.presence.meet(stored_worker(), {"new": 1}, read_at=scene.monotonic())
    assert scene.worker.holding["new"].is_exact
    assert not scene.worker.released


def test_counts_by_region(scene: Scene) -> None:
    """Of those who are there, counted anew after a second."""
    assert scene.presence.by_region() == {"europe": 1}
    scene.presence.forget(scene.worker.id)
    assert scene.presence.by_region() == {"europe": 1}
    scene.advance(1)
    assert scene.presence.by_region() == {}


def test_what_is_said_of_a_worker_that_was_forgotten(scene: Scene) -> None:
    """It has no effect."""
    scene.presence.forget(scene.worker.id)
    scene.presence.hold(scene.worker.id, "j", 1)
    scene.presence.lose(scene.worker.id, "j")
    scene.presence.amend(scene.worker.id, maintenance=True)
    scene.presence.put_back([scene.worker])
    assert scene.presence.release(scene.worker.id, "j") is None
    assert scene.presence.take_changes() == []
