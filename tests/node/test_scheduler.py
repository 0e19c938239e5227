"""The queue of one engine, on a clock of the test's own."""

from dataclasses import dataclass, field

import pytest
from gpunode_node.scheduler import Scheduler, Ticket
from gpunode_protocol.errors import ErrorCode, JobError


@dataclass
class _Job:
    """A ticket with what happened to it."""

    priority: int = 0
    output_units: int = 100
    moves: list[tuple[int, float]] = field(default_factory=list)
    starts: int = 0

    def __post_init__(self) -> None:
        self.ticket = Ticket(
            priority=self.priority,
            input_units=100,
            output_units=self.output_units,
            on_start=self._start,
            on_move=lambda position, eta_s: self.moves.append((position, eta_s)),
        )

    def _start(self) -> None:
        self.starts += 1


@dataclass
class _Loading:
    """An engine that is ready in ``left_s`` seconds. asked: how often it was told that a job waits."""

    left_s: float
    asked: int = 0

    def wait_s(self) -> float:
        return self.left_s

    def hasten(self) -> None:
        self.asked += 1


def _scheduler(slots: int = 1, queue_limit: int = 4, readiness: _Loading | None = None) -> Scheduler:
    return Scheduler(
        slots=slots, queue_limit=queue_limit, input_units_per_s=100, output_units_per_s=10, readiness=readiness
    )


def test_a_free_slot_starts_at_once() -> None:
    """Position 0, and the estimate is the prompt's time."""
    job = _Job()
    _scheduler().enter(job.ticket, 0)
    assert (job.starts, job.ticket.position, job.ticket.eta_s, job.moves) == (1, 0, 1.0, [])


def test_waiting_times_follow_from_what_runs() -> None:
    """Remaining tokens at the measured speed, slot by slot."""
    scheduler = _scheduler(slots=2)
    running = [_Job(output_units=100), _Job(output_units=50)]
    for job in running:
        scheduler.enter(job.ticket, 0)
    first, second = _Job(), _Job()
    scheduler.enter(first.ticket, 0)
    scheduler.enter(second.ticket, 0)
    assert first.moves == [(1, 5 + 1 + 1)]  # the shorter one's output and prompt, then its own prompt
    assert second.moves == [(2, 10 + 1 + 1)]
    assert scheduler.wait_s(0) == pytest.approx(6 + 1 + 10)
    running[0].ticket.produced_units = 90
    assert scheduler.wait_s(3) == pytest.approx(1 + 1 + 10)


def test_the_next_one_moves_up() -> None:
    """Whoever waits is told of its new place; the first one starts."""
    scheduler = _scheduler()
    jobs = [_Job() for _ in range(3)]
    for job in jobs:
        scheduler.enter(job.ticket, 0)
    scheduler.leave(jobs[0].ticket, 5)
    assert (jobs[1].starts, jobs[1].moves[-1]) == (1, (0, 1.0))
    assert jobs[2].moves[-1] == (1, 12.0)
    assert (scheduler.active, scheduler.queued) == (1, 1)


def test_priority_then_age() -> None:
    """A higher priority goes first, equals in the order of their coming; nothing that runs is displaced."""
    scheduler = _scheduler()
    running, low, high, higher = _Job(), _Job(0), _Job(5), _Job(5)
    for job in (running, low, high, higher):
        scheduler.enter(job.ticket, 0)
    assert [job.ticket.position for job in (running, high, higher, low)] == [0, 1, 2, 3]
    scheduler.leave(running.ticket, 1)
    assert (high.starts, low.starts) == (1, 0)


def test_leaving_the_queue() -> None:
    """A waiting job that leaves moves up those behind it; leaving twice changes nothing."""
    scheduler = _scheduler()
    jobs = [_Job() for _ in range(3)]
    for job in jobs:
        scheduler.enter(job.ticket, 0)
    for _ in range(2):
        scheduler.leave(jobs[1].ticket, 1)
    assert (jobs[1].starts, jobs[2].ticket.position, scheduler.queued) == (0, 1, 1)


def test_a_full_queue_says_when_to_come_back() -> None:
    """Busy is retryable, after the next slot is free."""
    scheduler = _scheduler(queue_limit=1)
    for job in (_Job(), _Job()):
        scheduler.enter(job.ticket, 0)
    late = _Job()
    with pytest.raises(JobError) as caught:
        scheduler.enter(late.ticket, 0)
    error = caught.value
    assert (error.code, error.retryable, error.retry_after_s) == (ErrorCode.BUSY, True, 11.0)
    assert scheduler.queued == 1


def test_the_estimate_learns_from_finished_jobs() -> None:
    """With several streams each is slower than one alone; short jobs say nothing."""
    scheduler = _scheduler()
    slow, short = _Job(), _Job()
    scheduler.enter(slow.ticket, 0)
    slow.ticket.produced_units = 100
    scheduler.leave(slow.ticket, 21)  # 5 a second instead of 10
    scheduler.enter(short.ticket, 21)
    assert scheduler.wait_s(21) == pytest.approx(1 + 100 / 9)
    short.ticket.produced_units = 3
    scheduler.leave(short.ticket, 100)
    scheduler.enter(_Job().ticket, 100)
    assert scheduler.wait_s(100) == pytest.approx(1 + 100 / 9)


def test_jobs_wait_for_a_model_that_is_not_loaded() -> None:
    """The queue asks for it, says honestly how long that takes, and starts them when it is there."""
    loading = _Loading(left_s=30)
    scheduler, first, second = _scheduler(readiness=loading), _Job(), _Job()
    assert scheduler.wait_s(0) == 30
    scheduler.enter(first.ticket, 0)
    scheduler.enter(second.ticket, 0)
    assert loading.asked
    assert first.moves == [(1, 30 + 1)]
    assert second.moves == [(2, 30 + 1 + 10 + 1)]
    loading.left_s = 0
    scheduler.engine_changed(1, 30)
    assert (first.starts, second.starts) == (1, 0)
    assert second.moves[-1] == (1, 1 + 10 + 1)


def test_the_queue_of_an_unloaded_model_has_its_limit() -> None:
    """Slots and places count as if it were loaded."""
    scheduler = _scheduler(slots=2, queue_limit=1, readiness=_Loading(left_s=30))
    for _ in range(3):
        scheduler.enter(_Job().ticket, 0)
    with pytest.raises(JobError) as refused:
        scheduler.enter(_Job().ticket, 0)
    assert (refused.value.code, refused.value.retry_after_s) == (ErrorCode.BUSY, 30)


def test_an_engine_may_come_back_with_other_slots() -> None:
    """With more of them waiting jobs start; with fewer, those that run go on."""
    scheduler, jobs = _scheduler(slots=1), [_Job() for _ in range(3)]
    for job in jobs:
        scheduler.enter(job.ticket, 0)
    scheduler.engine_changed(2, 0)
    assert [job.starts for job in jobs] == [1, 1, 0]
    scheduler.engine_changed(1, 0)
    scheduler.leave(jobs[0].ticket, 0)
    assert [job.starts for job in jobs] == [1, 1, 0]
    scheduler.leave(jobs[1].ticket, 0)
    assert jobs[2].starts == 1
