"""The wall clock of jobs."""

import asyncio

import pytest
from gpunode_engines.base import Progress, Segment
from gpunode_engines.errors import TimeLimit
from gpunode_engines.job_deadline import JobDeadline
from gpunode_engines.media import ImageRequest, SpeechRequest

from tests.engines.scripted_engine import ask
from tests.node.virtual_time import virtual_time

SPEECH = SpeechRequest(job_key="j", audio=b"RIFF", max_audio_ms=3_600_000)
IMAGE = ImageRequest(job_key="j", prompt="p", width=8, height=8, steps=1)


async def _over(request: object, *events: object, limit_s: float = 3_720.0) -> tuple[float, str]:
    """Return after how many seconds the job fails, and how; events come after 10 s."""
    clock = asyncio.get_running_loop().time
    failure: asyncio.Future[TimeLimit] = asyncio.get_running_loop().create_future()
    began_at = clock()
    deadline = JobDeadline(request, limit_s, failure.set_result)  # type: ignore[arg-type]  # -- any request
    await asyncio.wait({failure}, timeout=10)
    for event in events:
        deadline.note(event)  # type: ignore[arg-type]  # -- any event
    error = await failure
    deadline.cancel()
    return clock() - began_at, str(error)


@virtual_time
async def test_a_job_has_what_it_was_given() -> None:
    """The text says what its kind of work can do about it."""
    assert await _over(ask("hi"), limit_s=300) == (300, "The job took longer than 300 s; lower max_tokens.")
    assert await _over(IMAGE, Progress(step=0, total=8)) == (3_720, "The job took longer than 3720 s; ask for less.")


@virtual_time
async def test_speech_has_the_length_of_its_audio() -> None:
    """And 120 s, from the start on: not what the client was ready to pay for."""
    assert (await _over(SPEECH, Progress(step=0, total=5_000)))[0] == 125
    assert (await _over(SPEECH, Progress(step=0, total=5_000), Progress(step=5_000, total=5_000)))[0] == 125


@virtual_time
async def test_nothing_prolongs_it() -> None:
    """An engine is not trusted: neither a longer file nor what comes later."""
    assert (await _over(SPEECH, Progress(step=0, total=10**9), Segment(start_ms=0, end_ms=9, text="")))[0] == 3_720
    assert (await _over(SPEECH, Progress(step=0, total=5_000), Progress(step=0, total=90_000)))[0] == 125
    assert (await _over(SPEECH, Progress(step=0, total=0), limit_s=60))[0] == 60


@virtual_time
async def test_a_job_that_ended_is_let_be() -> None:
    """Cancelling twice is no error."""
    deadline = JobDeadline(SPEECH, 5.0, lambda _: pytest.fail("it has ended"))
    deadline.note(Progress(step=0, total=1))
    deadline.cancel()
    deadline.cancel()
    await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=10)
