"""Asking for jobs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gpunode_node.bell import Bell
from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.pull import courier
from gpunode_node.pull.offer import Offer
from gpunode_node.pull.taker import POLL_S, Taker
from gpunode_protocol.jobs_api import LONG_POLL_MAX_S, NextJob
from gpunode_protocol.tasks import Task

from tests.node.virtual_time import virtual_time
from tests.node.world import job_id

ALL = Offer((Task.LLM,), ("a",))


class _Tracker:
    """Answers polls by a list of answers, exceptions among them, and then not at all until the poll's time is over."""

    def __init__(self, *answers: NextJob | Exception) -> None:
        self.answers = list(answers)
        self.offer = ALL
        self.bell = Bell()
        self.log: list[str] = []
        self.times: list[float] = []
        self.taken: list[str] = []
        self.aborted = 0
        self.transfer_s = 0.0
        self.hears = True
        self.taker = Taker(self.next_job, lambda: self.offer, self.tell_offer, self.begin, self.bell)

    async def next_job(self, wait_s: int, on_answer: Callable[[], None]) -> NextJob:
        self.log.append("poll")
        self.times.append(asyncio.get_running_loop().time())
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            on_answer()
            await asyncio.sleep(self.transfer_s)
            return answer
        try:
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        return NextJob(reasons={"region": 3})

    async def tell_offer(self) -> bool:
        self.log.append("beat")
        return self.hears

    def begin(self, job: NextJob) -> None:
        self.taken.append(job.job_id or "")

    async def run(self, seconds: float, then: Callable[[], Any] | None = None, more: float = 0.0) -> None:
        """Take for so long; then something happens, and it goes on."""
        running = asyncio.create_task(self.taker.run())
        await asyncio.sleep(seconds)
        if then is not None:
            then()
            self.bell.ring()
            await asyncio.sleep(more)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _jobs(*numbers: int) -> list[NextJob]:
    return [NextJob(job_id=job_id(number)) for number in numbers]


@pytest.fixture(autouse=True)
def _real_pauses(_short_pauses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is virtual here."""
    monkeypatch.setattr(courier, "BACKOFF_S", 1.0)


@virtual_time
async def test_one_poll_after_the_other() -> None:
    """A job is followed by the next poll at once; an empty long poll too, and its reasons are kept."""
    tracker = _Tracker(*_jobs(1, 2))
    await tracker.run(2 * POLL_S + 1)
    assert tracker.taken == [job_id(1), job_id(2)]
    assert [at - tracker.times[0] for at in tracker.times] == [0, 0, 0, POLL_S, 2 * POLL_S]
    assert tracker.taker.reasons == {"region": 3}
    assert tracker.log.count("beat") == 1
    assert POLL_S <= LONG_POLL_MAX_S


@virtual_time
async def test_nothing_is_asked_for_while_nothing_can_be_taken() -> None:
    """It begins as soon as something can."""
    tracker = _Tracker()
    tracker.offer = Offer()
    await tracker.run(100, lambda: setattr(tracker, "offer", ALL), 1)
    assert len(tracker.times) == 1


@virtual_time
async def test_a_poll_is_left_when_the_offer_changes() -> None:
    """And begun again with the new one, which the tracker is told of before."""
    tracker = _Tracker()
    other = Offer((Task.LLM,), ("a", "b"))
    await tracker.run(5, lambda: setattr(tracker, "offer", other), 1)
    assert (tracker.log, tracker.aborted) == (["beat", "poll", "beat", "poll"], 2)


@virtual_time
async def test_a_poll_that_broke_is_told_of_before_the_next_one() -> None:
    """Its answer may have been on the way: the tracker hears what is held, and that nobody waits for that answer."""
    tracker = _Tracker(TrackerUnreachable("cut"), *_jobs(1))
    await tracker.run(10)
    assert tracker.log[:4] == ["beat", "poll", "beat", "poll"]
    assert tracker.taken == [job_id(1)]


@virtual_time
async def test_a_job_that_is_on_its_way_is_taken_whatever_changes() -> None:
    """A large file takes minutes; a slot that becomes free meanwhile does not make the worker begin anew."""
    tracker = _Tracker(*_jobs(1))
    tracker.transfer_s = 100.0
    await tracker.run(5, lambda: setattr(tracker, "offer", Offer((Task.LLM,), ("a", "b"))), 100)
    assert tracker.taken == [job_id(1)]
    assert tracker.aborted == 1  # the next poll, at the end of the test


@virtual_time
async def test_a_poll_is_left_when_nothing_can_be_taken_any_more() -> None:
    """Whatever keeps jobs away is looked at again meanwhile."""
    tracker = _Tracker()
    await tracker.run(5, lambda: setattr(tracker, "offer", Offer()), 60)
    assert (tracker.log, tracker.aborted) == (["beat", "poll", "beat"], 1)


@virtual_time
async def test_an_offer_that_the_tracker_did_not_hear_is_told_again() -> None:
    """Before the next poll."""
    tracker = _Tracker(*_jobs(1))
    tracker.hears = False
    await tracker.run(1)
    assert tracker.log == ["beat", "poll", "beat", "poll"]


@virtual_time
async def test_failures_are_waited_out() -> None:
    """With ever longer pauses, at least as long as the tracker wishes."""
    tracker = _Tracker(
        TrackerUnreachable("down"), TrackerRefused(403, "no"), TrackerBusy("busy", retry_after_s=100.0), *_jobs(1)
    )
    await tracker.run(200)
    pauses = [later - sooner for sooner, later in zip(tracker.times, tracker.times[1:], strict=False)]
    assert 0.5 <= pauses[0] <= 1
    assert 1 <= pauses[1] <= 2
    assert pauses[2] > 99.9  # seconds are floats
    assert tracker.taken == [job_id(1)]


@virtual_time
async def test_a_tracker_that_does_not_let_one_wait() -> None:
    """Empty answers that come at once do not make a storm."""
    tracker = _Tracker(*[NextJob()] * 20)
    await tracker.run(5)
    assert len(tracker.times) <= 11
