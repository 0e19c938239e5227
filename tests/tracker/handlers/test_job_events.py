"""Following a job by server-sent events."""

import asyncio

import pytest
from aiohttp import ClientPayloadError
from gpunode_protocol.jobs_api import (
    JOB_EVENTS_PATH,
    JOB_PATH,
)
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs import following
from gpunode_tracker.jobs.estimates import NOBODY
from gpunode_tracker.jobs.news import Word

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import Client, client_of, read_events
from tests.tracker.jobs.queue_parties import ANSWER


async def test_events_in_their_order(client: Client) -> None:
    """The present state first, done last, then the stream ends."""
    ticket = await client.submit()
    tracker = client.world.tracker
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    assert (response.status, response.content_type) == (200, "text/event-stream")
    assert (response.headers["Cache-Control"], "X-Request-ID" in response.headers) == ("no-store", True)
    assert response.headers["RateLimit-Policy"].startswith('"lookups";')
    assert response.headers["RateLimit"].startswith('"lookups";r=')
    events = read_events(response)
    assert await anext(events) == ("queued", {"position": 0, "estimated_wait": None, "note": NOBODY})
    _, lease = await client.queue.claim("worker:w1")
    tracker.news.tell(Word(lease.job_id, "running", {"attempt": 1}))
    assert await anext(events) == ("running", {"attempt": 1, "served_by": "worker:w1"})
    tracker.news.tell(Word(lease.job_id, "tokens", {"text": "Hi\n\ndata: x"}))
    tracker.news.tell(Word(lease.job_id, "progress", {"step": 1, "total": 2}))
    assert await anext(events) == ("tokens", {"text": "Hi\n\ndata: x"})
    assert await anext(events) == ("progress", {"step": 1, "total": 2})
    await tracker.desk.complete(lease, ANSWER, processing_ms=5)
    assert [event async for event in events] == [("done", {"status": "completed", "error": None})]


async def test_events_of_a_job_that_has_ended(client: Client) -> None:
    """One event, and the end."""
    ticket = await client.submit()
    await client.call("DELETE", JOB_PATH.format(job=ticket.job_id))
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    assert [event async for event in read_events(response)] == [("done", {"status": "cancelled", "error": None})]


async def test_head_has_no_events(client: Client) -> None:
    """What follows the head would be taken for the next answer of the connection, which a proxy may give to others."""
    ticket = await client.submit()
    await client.call("DELETE", JOB_PATH.format(job=ticket.job_id))
    path, http = JOB_EVENTS_PATH.format(job=ticket.job_id), client.world.http
    reader, writer = await asyncio.open_connection(http.host, http.port)
    given = [f"{name}: {value}" for name, value in client.headers.items()]
    writer.write("\r\n".join([f"HEAD {path} HTTP/1.1", "Host: t", "Connection: close", *given, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1


async def test_a_retry_is_seen(client: Client) -> None:
    """Queued again after a failed attempt."""
    ticket = await client.submit()
    _, lease = await client.queue.claim()
    events = read_events(await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id)))
    assert (await anext(events))[0] == "running"
    await client.world.tracker.desk.fail(lease, "out of memory")
    assert (await anext(events))[0] == "queued"


async def test_nothing_new_is_said_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments keep the connection; an end that no word told of is found."""
    monkeypatch.setattr(following, "HEARTBEAT_S", 0.01)
    ticket = await client.submit()
    events = read_events(await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id)))
    assert [(await anext(events))[0] for _ in range(3)] == ["queued", ":", ":"]
    monkeypatch.setattr(client.world.tracker.news, "tell", lambda _word: None)
    await client.world.tracker.desk.cancel(await client.queue.job(ticket.job_id))
    names = [name async for name, _ in events if name != ":"]
    assert names == ["done"]


async def test_followers_do_not_count_as_requests_in_work(limited: World) -> None:
    """They are only connections."""
    client = await client_of(limited)
    ticket = await client.submit()
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    await anext(read_events(response))
    assert len(limited.http.server.app[GUARD].in_flight) == 0  # type: ignore[union-attr]  # -- the test's own server has an application
    response.close()


async def test_a_key_that_is_revoked_ends_its_streams(client: Client) -> None:
    """The last event is the problem that the key has from now on; the job goes on."""
    ticket, tracker = await client.submit(), client.world.tracker
    events = read_events(await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id)))
    assert (await anext(events))[0] == "queued"
    await client.world.admin.api_keys.revoke(client.key_id)
    await tracker.key_watch.look()
    tracker.news.tell(Word(ticket.job_id, "tokens", {"text": "not for you"}))
    (event,) = [event async for event in events if event[0] not in {":", "tokens"}]
    assert (event[0], event[1]["status"], event[1]["code"]) == ("error", 401, "unauthenticated")
    assert "was revoked" in event[1]["detail"]
    assert (await client.queue.job(ticket.job_id)).status == "queued"


async def test_an_account_that_is_shut_out_has_its_streams_ended(client: Client) -> None:
    """Within seconds, whatever comes in them."""
    ticket, tracker = await client.submit(), client.world.tracker
    events = read_events(await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id)))
    await anext(events)
    tracker.bans.replace([Ban(BanKind.ACCOUNT, client.account, "spam", 0)])
    (event,) = [event async for event in events if event[0] != ":"]
    assert (event[0], event[1]["status"], event[1]["code"]) == ("error", 403, "banned")


async def test_a_tracker_that_stops_ends_its_streams(world: World, client: Client) -> None:
    """Nobody waits for a stream that has no end of its own."""
    ticket = await client.submit()
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    events = read_events(response)
    await anext(events)
    await world.http.server.app.shutdown()  # type: ignore[union-attr]  # -- the test's own server has an application
    assert [event async for event in events if event[0] != ":"] == []


async def test_a_database_that_fails_meanwhile(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends, so that readers ask again: a problem would be read as a part of the stream."""
    ticket = await client.submit()
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    events = read_events(response)
    assert (await anext(events))[0] == "queued"

    async def fail(*_: object) -> None:
        raise StorageUnavailable("The database is away.", retry_after_s=1)

    monkeypatch.setattr(following, "_present", fail)
    client.world.tracker.news.tell(Word(ticket.job_id, "queued"))
    with pytest.raises(ClientPayloadError, match="not completed"):
        await anext(events)
    counted = b'http_requests_total{path="/api/v1/jobs/{job}/events",status="503"} 1.0'
    assert counted in client.world.tracker.metrics.render()
