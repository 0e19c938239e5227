"""What is told of a job on its way."""

import asyncio
from typing import Any

import pytest
from gpunode_node.bell import Bell
from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.pull.job_teller import MAX_TEXT_CHARS, TELL_INTERVAL_S, JobTeller
from gpunode_protocol.job_results import CALLS_MARK
from gpunode_protocol.jobs_api import WorkerEvent
from gpunode_protocol.messages import PingFrame, ProgressFrame, TokensFrame, encode_frame

from tests.node.virtual_time import virtual_time
from tests.node.world import llm_params, request

TOOLS = '[{"type": "function", "function": {"name": "f"}}]'


class _Job:
    """The frames of a job, as a run has them."""

    def __init__(self, **params: Any) -> None:
        self.job = self
        self.request = request(params=llm_params(**params))
        self.frames: list[bytes] = []
        self.is_over = False
        self.bell = Bell()

    def write(self, *texts: str) -> None:
        self.frames += [encode_frame(TokensFrame(ids=(1,), text=text)) for text in texts]
        self.bell.ring()

    def end(self) -> None:
        self.is_over = True
        self.bell.ring()


class _Ear:
    """Keeps the events and their times; raises what a test wants first."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.events: list[WorkerEvent] = []
        self.times: list[float] = []

    async def tell(self, event: WorkerEvent) -> None:
        self.times.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        self.events.append(event)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events)


def _follow(job: _Job, ear: _Ear) -> tuple[JobTeller, "asyncio.Task[None]"]:
    teller = JobTeller(3, ear.tell)
    return teller, asyncio.create_task(teller.follow(job))  # type: ignore[arg-type]  # -- has what is used of a run


@virtual_time
async def test_at_most_four_times_a_second() -> None:
    """However fast tokens come; nothing of them is lost, and the first one is told at once."""
    job, ear = _Job(), _Ear()
    _, following = _follow(job, ear)
    began_at = asyncio.get_running_loop().time()
    for number in range(200):
        job.write(chr(97 + number % 26))
        await asyncio.sleep(0.01)
    job.end()
    await following
    assert ear.text == "".join(chr(97 + number % 26) for number in range(200))
    assert ear.times[0] == began_at
    assert all(later - sooner >= TELL_INTERVAL_S for sooner, later in zip(ear.times, ear.times[1:-1], strict=False))
    assert {event.attempt for event in ear.events} == {3}


@virtual_time
async def test_progress_is_the_newest() -> None:
    """Steps between two events are skipped; pings say nothing."""
    job, ear = _Job(), _Ear()
    job.frames = [encode_frame(ProgressFrame(step=step, total=9)) for step in range(1, 8)]
    job.frames.append(encode_frame(PingFrame()))
    job.end()
    await _follow(job, ear)[1]
    assert [(event.step, event.total, event.text) for event in ear.events] == [(7, 9, "")]


@virtual_time
async def test_long_text_goes_in_pieces() -> None:
    """Each as long as an event may be."""
    job, ear = _Job(), _Ear()
    job.write(*["x" * 70_000] * 3)
    job.end()
    await _follow(job, ear)[1]
    assert [len(event.text) for event in ear.events] == [MAX_TEXT_CHARS, MAX_TEXT_CHARS, 10_000]


@virtual_time
async def test_a_busy_tracker_gets_it_with_the_next_event() -> None:
    """It has not looked at the first one; after the job's end nobody waits for it."""
    job, ear = _Job(), _Ear(TrackerBusy("busy"))
    _, following = _follow(job, ear)
    job.write("a")
    await asyncio.sleep(0.1)
    job.write("b")
    await asyncio.sleep(1)
    assert ear.text == "ab"
    ear.failures = [TrackerBusy("busy")] * 9
    job.write("c")
    job.end()
    await following
    assert ear.text == "ab"


@virtual_time
async def test_a_silent_tracker_may_have_heard_it() -> None:
    """It is not told twice: a gap is better than a text that comes twice."""
    job, ear = _Job(), _Ear(TrackerUnreachable("silent"))
    _, following = _follow(job, ear)
    job.write("a")
    await asyncio.sleep(1)
    job.write("b")
    job.end()
    await following
    assert ear.text == "b"


@virtual_time
@pytest.mark.parametrize(("status", "lost"), [(409, True), (404, True), (422, False)])
async def test_a_refusal(status: int, lost: bool) -> None:
    """The job is lost where it says that, and then nothing more is told; else it goes on."""
    job, ear = _Job(), _Ear(TrackerRefused(status, "no"))
    teller, following = _follow(job, ear)
    job.write("a")
    await asyncio.sleep(1)
    assert (teller.lost, following.done()) == (lost, lost)
    job.write("b")
    job.end()
    await following
    assert ear.text == ("" if lost else "b")


@virtual_time
async def test_calls_of_functions_are_no_text() -> None:
    """As for whoever follows a job on the mesh."""
    job, ear = _Job(tools=TOOLS), _Ear()
    job.write("I look", f" it up.{CALLS_MARK}[{{", '"name": "f"}]')
    job.end()
    await _follow(job, ear)[1]
    assert ear.text == "I look it up."
