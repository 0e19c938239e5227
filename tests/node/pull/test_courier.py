"""Bringing ends of jobs to the tracker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.pull import courier
from gpunode_node.pull.completions import Completion, CompletionOutbox
from gpunode_node.pull.courier import BACKOFF_MAX_S, Courier, pause_s
from gpunode_protocol.jobs_api import CompletionReply, JobCompletion

from tests.node.virtual_time import virtual_time
from tests.node.world import job_id

END = Completion.of(job_id(1), JobCompletion(success=True, attempt=2, transcript=b"x"))


class _Tracker:
    """Answers each call by the next of some answers, an exception or nothing, and then takes everything."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.bodies: list[JobCompletion] = []
        self.times: list[float] = []

    async def deliver(self, name: str, body: bytes) -> CompletionReply:
        self.times.append(asyncio.get_running_loop().time())
        self.bodies.append(JobCompletion.model_validate_json(body))
        if self.answers:
            raise self.answers.pop(0)
        return CompletionReply(job_id=name, status="completed", paid_microcredits=5)


@contextlib.asynccontextmanager
async def _courier(folder: Path, tracker: _Tracker) -> AsyncIterator[tuple[Courier, CompletionOutbox]]:
    outbox = CompletionOutbox(folder / "completions.db")
    await outbox.open()
    try:
        yield Courier(outbox, tracker.deliver), outbox
    finally:
        await outbox.close()


async def _totals(outbox: CompletionOutbox) -> dict[str, tuple[int, int]]:
    return {name: (each.jobs, each.paid_microcredits) for name, each in (await outbox.totals()).items()}


@virtual_time
async def test_until_it_is_taken(tmp_path: Path) -> None:
    """Silence is waited out, with ever longer pauses; meanwhile the end is on disk and the problem is told."""
    tracker = _Tracker(*[TrackerUnreachable("down")] * 5)
    async with _courier(tmp_path, tracker) as (bringing, outbox):
        await bringing.bring(END)
        assert await _totals(outbox) == {"completed": (1, 5)}
        assert outbox.waiting == ()
        assert bringing.problem == ""
    assert len(tracker.times) == 6


@virtual_time
async def test_what_the_tracker_wishes_is_done(tmp_path: Path) -> None:
    """Retry-After is the least that is waited."""
    tracker = _Tracker(TrackerBusy("busy", retry_after_s=90.0))
    async with _courier(tmp_path, tracker) as (bringing, _):
        await bringing.bring(END)
    assert tracker.times[1] - tracker.times[0] >= 90


@virtual_time
async def test_the_trackers_return_ends_the_pause(tmp_path: Path) -> None:
    """Nobody waits half a minute for a tracker that answers again."""
    tracker = _Tracker(TrackerBusy("busy", retry_after_s=1_000.0))
    async with _courier(tmp_path, tracker) as (bringing, outbox):
        running = asyncio.create_task(bringing.bring(END))
        await asyncio.sleep(1)
        assert (bringing.problem, len(outbox.waiting)) == ("busy", 1)
        bringing.retry_now()
        await running
    assert tracker.times[1] - tracker.times[0] < 2


@pytest.mark.parametrize("status", [403, 404, 409, 410])
async def test_a_job_that_is_lost(tmp_path: Path, status: int) -> None:
    """Its end is dropped: it is somebody else's by now."""
    tracker = _Tracker(TrackerRefused(status, "not yours"))
    async with _courier(tmp_path, tracker) as (bringing, outbox):
        await bringing.bring(END)
        assert (await _totals(outbox), outbox.waiting) == ({"lost": (1, 0)}, ())
    assert len(tracker.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_result_that_is_refused(tmp_path: Path, status: int) -> None:
    """The attempt is given up with the tracker's reason; if that is refused too, nothing more is said."""
    tracker = _Tracker(TrackerRefused(status, "no such result"), TrackerRefused(status, "nor that"))
    async with _courier(tmp_path, tracker) as (bringing, outbox):
        await bringing.bring(END)
        assert (await _totals(outbox), outbox.waiting) == ({"refused": (2, 0)}, ())
    said = tracker.bodies[1]
    assert (said.success, said.attempt) == (False, 2)
    assert "no such result" in said.error


async def test_a_token_that_does_not_work_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is dropped for it: the next registration may mend it."""
    monkeypatch.setattr(courier, "BACKOFF_S", 0.001)
    tracker = _Tracker(TrackerRefused(401, "who are you"))
    async with _courier(tmp_path, tracker) as (bringing, outbox):
        await bringing.bring(END)
        assert await _totals(outbox) == {"completed": (1, 5)}


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """From about a second to half a minute, by chance."""
    monkeypatch.setattr(courier, "BACKOFF_S", 1.0)
    drawn: list[Any] = [[pause_s(failures) for _ in range(50)] for failures in (1, 2, 5, 100)]
    assert [max(each) <= limit for each, limit in zip(drawn, (1, 2, 16, BACKOFF_MAX_S), strict=True)] == [True] * 4
    assert [min(each) >= limit / 2 for each, limit in zip(drawn, (1, 2, 16, BACKOFF_MAX_S), strict=True)] == [True] * 4
    assert all(len(set(each)) > 1 for each in drawn)
