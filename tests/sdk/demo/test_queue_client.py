"""Jobs by plain HTTP."""

import pytest
from gpunode.demo.queue_client import QueueClient
from gpunode.errors import TrackerError, TrackerUnreachable
from gpunode_protocol.jobs_api import JobSubmission
from gpunode_protocol.tasks import Task

from tests.sdk.demo.queue_server import JOB, STORY, QueueServer

ASKED = JobSubmission(type=Task.LLM, params={"messages": []}, model="m")


async def test_a_jobs_way() -> None:
    """Submitted with the key, followed event by event to its end, read."""
    told = QueueServer()
    async with told.server() as server, QueueClient(str(server.make_url("")).rstrip("/"), "k") as queue:
        assert (await queue.submit(ASKED)).job_id == JOB
        assert [event async for event in queue.follow(JOB)] == list(STORY)
        assert (await queue.job(JOB)).result is not None
    assert told.asked == [{"type": "llm", "params": {"messages": []}, "priority": 0, "model": "m"}]
    assert told.keys == {"Bearer k"}


@pytest.mark.parametrize(
    ("body", "words"), [(b'{"title": "No", "status": 402, "detail": "No credits left."}', "No credits"), (b"", "402")]
)
async def test_refusals(body: bytes, words: str) -> None:
    """The tracker's words where it has some, its status always; while a job is followed too."""
    async with (
        QueueServer(refusal=(402, body)).server() as server,
        QueueClient(str(server.make_url("")).rstrip("/"), "k") as queue,
    ):
        with pytest.raises(TrackerError, match=words) as refused:
            await queue.submit(ASKED)
        assert refused.value.status == 402
        with pytest.raises(TrackerError, match=words):
            async for _ in queue.follow(JOB):
                pass


async def test_a_tracker_that_is_gone() -> None:
    """It is said which one does not answer."""
    server = QueueServer().server()
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    await server.close()
    async with QueueClient(url, "k") as queue:
        with pytest.raises(TrackerUnreachable, match=url):
            await queue.job(JOB)
        with pytest.raises(TrackerUnreachable, match=url):
            async for _ in queue.follow(JOB):
                pass
