"""The client library's queue against a real tracker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from gpunode._job_queue import JobQueue
from gpunode._tracker import TrackerClient
from gpunode.errors import InsufficientCredits, TrackerError
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.news import Word

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import Client
from tests.tracker.jobs.queue_parties import ANSWER, HELLO


@pytest.fixture
async def queue(world: World, client: Client) -> AsyncIterator[JobQueue]:
    """The library's queue of the client's account."""
    key = client.headers["Authorization"].removeprefix("Bearer ")
    tracker = TrackerClient(str(world.http.make_url("")).rstrip("/"), api_key=key)
    yield JobQueue(tracker)
    await tracker.close()


async def test_from_submission_to_result(client: Client, queue: JobQueue) -> None:
    """Followed all the way, while somebody does it."""
    ticket = await queue.submit(Task.LLM, HELLO, region=None, priority=3)
    events = queue.events(ticket.job_id)
    assert (await anext(events)).name == "queued"
    _, lease = await client.queue.claim("worker:w1")
    news, desk = client.world.tracker.news, client.world.tracker.desk
    for word in (Word(lease.job_id, "running"), Word(lease.job_id, "tokens", {"text": "Hi!"})):
        news.tell(word)
        assert (await anext(events)).name == word.name
    waiting = asyncio.ensure_future(queue.wait(ticket.job_id, timeout_s=30))
    await desk.complete(lease, ANSWER, processing_ms=5)
    assert [event.name async for event in events] == ["done"]
    view = await waiting
    assert (view.status, view.result, view.priority) == ("completed", ANSWER, 3)


async def test_listing_and_cancelling(queue: JobQueue) -> None:
    """A cancelled job cannot be asked for twice in vain; one that is not there is."""
    tickets = [await queue.submit(Task.EMBEDDING, {"input": text}) for text in ("one", "two")]
    assert (await queue.cancel(tickets[0].job_id)).status == "cancelled"
    page = await queue.page(status="queued", type=Task.EMBEDDING, limit=5)
    assert [view.job_id for view in page.jobs] == [tickets[1].job_id]
    with pytest.raises(TrackerError, match="no such job of yours"):
        await queue.view("01900000-0000-7000-8000-000000000001")


async def test_the_trackers_words_reach_the_caller(queue: JobQueue) -> None:
    """Which parameter is wrong; that credits are missing."""
    with pytest.raises(TrackerError, match="no parameter 'modle'"):
        await queue.submit(Task.LLM, HELLO | {"modle": "x"})
    dear = {"prompt": "x", "size": "4096x4096", "steps": 1_000, "n": 16}
    with pytest.raises(InsufficientCredits, match="were to be reserved"):
        await queue.submit(Task.IMAGE_GEN, dear)


async def test_files(client: Client, queue: JobQueue) -> None:
    """Megabytes of audio come through the library and the tracker."""
    ticket = await queue.submit(Task.WHISPER, {"audio": bytes(3_000_000), "language": "de"})
    job = await client.queue.job(ticket.job_id)
    params = client.world.tracker.desk.params_of(job)
    assert (len(params["audio"]), params["language"]) == (4_000_000, "de")
