"""Jobs in the tracker's queue, over HTTP."""

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpunode._job_queue import JobQueue
from gpunode._tracker import TrackerClient
from gpunode.errors import InvalidRequest, TrackerBusy, TrackerError, TrackerUnreachable
from gpunode.types import QueueEvent
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import Problem

from tests.sdk.queue_server import JOB, RESULT, QueueServer, queue_server

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
QUEUED = ("queued", {"position": 0})
RUNNING = ("running", {"attempt": 1})
DONE = ("done", {"status": "completed"})


@pytest.fixture(scope="module")
def server_of_all() -> Iterator[QueueServer]:
    """One server for the module."""
    with queue_server() as served:
        yield served


@pytest.fixture
def server(server_of_all: QueueServer) -> QueueServer:
    """The server, as new."""
    fresh = QueueServer(url=server_of_all.url)
    server_of_all.__dict__.update(fresh.__dict__)
    return server_of_all


@pytest.fixture
async def queue(server: QueueServer) -> AsyncIterator[JobQueue]:
    """The queue's client, which waits no time between attempts."""

    async def sleep(_: float) -> None:
        pass

    tracker = TrackerClient(server.url, api_key="secret", sleep=sleep)
    yield JobQueue(tracker)
    await tracker.close()


async def followed(queue: JobQueue) -> list[str]:
    """Return the names of all events of a job."""
    return [event.name async for event in queue.events(JOB)]


async def test_submitting(server: QueueServer, queue: JobQueue) -> None:
    """The plan's body, with the API key; what is not wished for is left out."""
    ticket = await queue.submit(Task.LLM, HELLO, region=Region.ASIA, priority=3, model=None, webhook=None)
    assert (ticket.job_id, ticket.status, ticket.note) == (JOB, "queued", "No live worker.")
    assert server.bodies == [{"type": "llm", "params": HELLO, "region": "asia", "priority": 3}]
    assert server.headers[0]["Authorization"] == "Bearer secret"


async def test_a_lost_answer_makes_no_second_job(server: QueueServer, queue: JobQueue) -> None:
    """It is sent again under the same key, another submission under another."""
    server.lost_answers = 1
    await queue.submit(Task.LLM, HELLO)
    await queue.submit(Task.LLM, HELLO)
    keys = [headers["Idempotency-Key"] for headers in server.headers]
    assert keys[0] == keys[1] != keys[2]


async def test_files_travel_as_base64(server: QueueServer, queue: JobQueue, tmp_path: Path) -> None:
    """Given as a path, as bytes, or encoded already; other parameters stay as they are."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    encoded = base64.b64encode(b"sound").decode()
    for audio in (path, b"sound", encoded):
        await queue.submit(Task.WHISPER, {"audio": audio, "language": "de"})
    assert [body["params"] for body in server.bodies] == [{"audio": encoded, "language": "de"}] * 3


async def test_a_large_file(server: QueueServer, queue: JobQueue) -> None:
    """Twenty-five megabytes of audio get there."""
    await queue.submit(Task.WHISPER, {"audio": bytes(25_000_000)})
    assert len(server.bodies[0]["params"]["audio"]) == 33_333_336


@pytest.mark.parametrize(
    ("params", "wishes", "named"),
    [
        (HELLO, {"priority": 10}, "priority: must be at most 9"),
        (HELLO, {"model": "a b"}, "model"),
        ({"audio": Path("nothing.wav")}, {}, "cannot be read"),
    ],
)
async def test_what_is_not_valid_is_not_sent(
    server: QueueServer, queue: JobQueue, params: Any, wishes: Any, named: str
) -> None:
    """The message names it."""
    with pytest.raises(InvalidRequest, match=named):
        await queue.submit(Task.WHISPER, params, **wishes)
    assert server.asked == []


@pytest.mark.parametrize("job_id", ["", "../accounts", "a/b", "x?y", "ä"])
async def test_what_is_no_id_is_not_asked_for(server: QueueServer, queue: JobQueue, job_id: str) -> None:
    """Nothing of it gets into a path."""
    with pytest.raises(InvalidRequest, match="not the id"):
        await queue.view(job_id)
    assert server.asked == []


async def test_seeing_listing_cancelling(server: QueueServer, queue: JobQueue) -> None:
    """Each by its call."""
    assert (await queue.view(JOB)).result == RESULT
    page = await queue.page(status="completed", type=Task.LLM, cursor=None, limit=5)
    assert (page.jobs[0].result, page.next_cursor) == (None, JOB)
    assert (await queue.cancel(JOB)).status == "cancelled"
    assert server.asked == [
        ("GET", f"/api/v1/jobs/{JOB}"),
        ("GET", "/api/v1/jobs?status=completed&type=llm&limit=5"),
        ("DELETE", f"/api/v1/jobs/{JOB}"),
    ]


async def test_a_refusal(server: QueueServer, queue: JobQueue) -> None:
    """With the tracker's words."""
    server.problem = Problem(title="Not Found", status=404, detail="There is no such job of yours.", code="not_found")
    for call in (queue.view(JOB), queue.cancel(JOB), followed(queue)):
        with pytest.raises(TrackerError, match="no such job of yours") as caught:
            await call
        assert (caught.value.status, caught.value.code) == (404, "not_found")
    assert len(server.asked) == 3


async def test_events(server: QueueServer, queue: JobQueue) -> None:
    """In order, with their data, until the job has ended."""
    server.streams = [[QUEUED, RUNNING, ("tokens", {"text": "Hi"}), DONE, ("tokens", {"text": "never"})]]
    events = [event async for event in queue.events(JOB)]
    assert events == [QueueEvent(*event) for event in (QUEUED, RUNNING, ("tokens", {"text": "Hi"}), DONE)]


async def test_a_stream_that_breaks_off_is_taken_up_again(server: QueueServer, queue: JobQueue) -> None:
    """However it ended; the state is told once, output that came twice twice."""
    token = ("tokens", {"text": "x"})
    server.streams = [[QUEUED], [QUEUED, "cut"], [RUNNING, token, "cut"], [RUNNING, token, DONE]]
    assert await followed(queue) == ["queued", "running", "tokens", "tokens", "done"]
    assert len(server.asked) == 4


async def test_a_stream_that_the_tracker_refuses_to_go_on_with(server: QueueServer, queue: JobQueue) -> None:
    """It is asked for again, which is refused for the same reason; that is no event of the job."""
    refusal = Problem(title="", status=401, detail="This API key was revoked.", code="unauthenticated")
    server.streams = [[QUEUED, ("error", refusal.model_dump())]]
    events = queue.events(JOB)
    assert (await anext(events)).name == "queued"
    server.problem = refusal
    with pytest.raises(TrackerError, match="was revoked"):
        await anext(events)
    assert len(server.asked) == 2


async def test_a_stream_that_says_nothing_is_given_up(server: QueueServer, queue: JobQueue) -> None:
    """After some attempts without any event."""
    server.streams = [[]]
    with pytest.raises(TrackerUnreachable, match="before the job has ended"):
        await followed(queue)
    assert len(server.asked) == 3


async def test_a_tracker_that_is_too_busy_for_a_stream(server: QueueServer, queue: JobQueue) -> None:
    """Likewise."""
    server.problem = Problem(title="", status=503, detail="Later.")
    with pytest.raises(TrackerBusy, match="Later"):
        await followed(queue)
    assert len(server.asked) == 3


async def test_waiting(server: QueueServer, queue: JobQueue) -> None:
    """Until the end, then the job with its result."""
    server.streams = [[QUEUED, RUNNING, DONE]]
    assert (await queue.wait(JOB)).result == RESULT
    assert [path for _, path in server.asked] == [f"/api/v1/jobs/{JOB}/events", f"/api/v1/jobs/{JOB}"]


async def test_waiting_no_longer_than_wished(queue: JobQueue) -> None:
    """TimeoutError; the job goes on."""
    with pytest.raises(TimeoutError):
        await queue.wait(JOB, timeout_s=0.0)
