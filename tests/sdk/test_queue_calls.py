"""The clients' methods for queued jobs, with an event loop and without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode.async_client import AsyncInferenceClient
from gpunode.client import InferenceClient
from gpunode.config import ClientConfig
from gpunode.errors import InvalidRequest, Unauthorized

from tests.sdk.queue_server import JOB, RESULT, QueueServer, queue_server

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
EVENTS = [("queued", {"position": 0}), ("tokens", {"text": "Hi"}), ("done", {"status": "completed"})]


@pytest.fixture
def server() -> Iterator[QueueServer]:
    """A tracker's queue."""
    with queue_server() as served:
        served.streams = [list(EVENTS)]
        yield served


def config(server: QueueServer, folder: Path, **settings: str | None) -> ClientConfig:
    """Return a client's configuration."""
    return ClientConfig.load({"tracker": server.url, "api_key": "secret", "state_dir": folder, **settings})


async def test_with_an_event_loop(server: QueueServer, tmp_path: Path) -> None:
    """No mesh is joined for it."""
    async with AsyncInferenceClient.from_config(config(server, tmp_path)) as client:
        ticket = await client.submit_job("llm", HELLO, region="asia", model="small")
        assert [event.name async for event in client.job_events(ticket.job_id)] == ["queued", "tokens", "done"]
        assert (await client.wait_for_job(JOB, timeout_s=30)).result == RESULT
        assert (await client.job(JOB)).status == "completed"
        assert (await client.jobs(task="llm", limit=2)).jobs[0].job_id == JOB
        assert (await client.cancel_job(JOB)).status == "cancelled"
    assert {path for _, path in server.asked} == {
        "/api/v1/jobs",
        f"/api/v1/jobs/{JOB}",
        f"/api/v1/jobs/{JOB}/events",
        "/api/v1/jobs?type=llm&limit=2",
    }


def test_without_an_event_loop(server: QueueServer, tmp_path: Path) -> None:
    """The same, and events are an iterator that may be left early."""
    with InferenceClient.from_config(config(server, tmp_path)) as client:
        assert client.submit_job("llm", HELLO, priority=9).job_id == JOB
        assert [event.name for event in client.job_events(JOB)] == ["queued", "tokens", "done"]
        for event in client.job_events(JOB):
            assert event.name == "queued"
            break
        assert client.wait_for_job(JOB, timeout_s=30).result == RESULT
        assert client.job(JOB).status == "completed"
        assert client.jobs(status="completed").next_cursor == JOB
        assert client.cancel_job(JOB).status == "cancelled"
    assert server.bodies[0]["priority"] == 9


async def test_names_that_there_are_not(server: QueueServer, tmp_path: Path) -> None:
    """Nothing is sent."""
    async with AsyncInferenceClient.from_config(config(server, tmp_path)) as client:
        with pytest.raises(InvalidRequest, match="no task 'poem'"):
            await client.submit_job("poem", {})
        with pytest.raises(InvalidRequest, match="no region 'mars'"):
            await client.submit_job("llm", HELLO, region="mars")
    assert server.asked == []


async def test_without_an_api_key(server: QueueServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is sent."""
    monkeypatch.delenv("GPUNODE_API_KEY", raising=False)
    async with AsyncInferenceClient.from_config(config(server, tmp_path, api_key=None)) as client:
        with pytest.raises(Unauthorized, match="needs an account's API key"):
            await client.submit_job("llm", HELLO)
    assert server.asked == []
