"""Waiting for a job in one call."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from gpunode_protocol.jobs_api import (
    JOB_EVENTS_PATH,
    JOB_PATH,
    JOBS_PATH,
    SYNC_JOB_PATH,
    JobView,
)
from gpunode_tracker.app import create_app
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs import following
from gpunode_tracker.jobs.job import Lease
from gpunode_tracker.limits import MIB, Limits

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import CHAT, Client, client_of, page, read_events
from tests.tracker.jobs.queue_parties import ANSWER


async def _do_one(client: Client, end: str) -> Lease:
    """Do the next job, as soon as there is one, and end it somehow."""
    changes = client.world.tracker.news.changes
    await client.world.tracker.news.wait_for_queue(changes, 30)
    _, lease = await client.queue.claim()
    desk = client.world.tracker.desk
    if end == "completed":
        await desk.complete(lease, ANSWER, processing_ms=5)
    elif end == "failed":
        await desk.fail(lease, "it cannot be done", retryable=False)
    else:
        await desk.cancel(await client.queue.job(lease.job_id))
    return lease


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_sync_answers_at_the_jobs_end(client: Client, end: str) -> None:
    """Whichever it is, as GET shows it."""
    response, lease = await asyncio.gather(client.call("POST", SYNC_JOB_PATH, CHAT), _do_one(client, end))
    view = JobView.model_validate_json(await response.text())
    assert (response.status, view.status, view.job_id) == (200, end, lease.job_id)
    assert view.result == (ANSWER if end == "completed" else None)


async def test_sync_of_a_job_that_takes_too_long(client: Client) -> None:
    """504 names the job, which goes on; its result is there when it has ended."""
    tracker = client.world.tracker
    tracker.settings = tracker.settings.model_copy(update={"sync_timeout_s": 0.05})
    response = await client.call("POST", SYNC_JOB_PATH, CHAT)
    body = await response.json()
    assert (response.status, response.content_type) == (504, "application/problem+json")
    assert (body["code"], body["status"]) == ("not_ended", 504)
    assert response.headers["Location"] == JOB_PATH.format(job=body["job_id"])
    assert (await client.view(body["job_id"])).status == "queued"
    _, lease = await client.queue.claim()
    await tracker.desk.complete(lease, ANSWER, processing_ms=61_000)
    view = await client.view(body["job_id"])
    assert (view.status, view.result) == ("completed", ANSWER)


async def test_sync_with_a_key_that_is_revoked_meanwhile(client: Client) -> None:
    """It is refused as the key is from now on, and tells where the job is, which goes on."""
    tracker = client.world.tracker
    changes = tracker.news.changes
    call = asyncio.create_task(client.call("POST", SYNC_JOB_PATH, CHAT))
    await tracker.news.wait_for_queue(changes, 30)
    await client.world.admin.api_keys.revoke(client.key_id)
    while not call.done():  # it may be about to wait
        await tracker.key_watch.look()
        await asyncio.wait({call}, timeout=0.05)
    response = await call
    assert (response.status, (await response.json())["code"]) == (401, "unauthenticated")
    job = response.headers["Location"].rpartition("/")[2]
    assert (await client.queue.job(job)).status == "queued"


@pytest.mark.full
async def test_sync_of_a_job_that_takes_a_minute_and_more(client: Client) -> None:
    """By the usual settings, on a real clock: 504 after a minute, and the result when it is there."""
    response = await client.call("POST", SYNC_JOB_PATH, CHAT)
    body = await response.json()
    assert (response.status, body["code"]) == (504, "not_ended")
    assert "within 60 s" in body["detail"]
    _, lease = await client.queue.claim()
    await client.world.tracker.desk.complete(lease, ANSWER, processing_ms=61_000)
    view = await client.view(body["job_id"])
    assert (view.status, view.result) == ("completed", ANSWER)


async def test_sync_with_a_key_waits_for_the_same_job(client: Client) -> None:
    """A client that comes again after 504 gets the result of the first call's job."""
    ticket = await (await client.call("POST", JOBS_PATH, CHAT, Idempotency_Key="k")).json()
    _, lease = await client.queue.claim()
    await client.world.tracker.desk.complete(lease, ANSWER, processing_ms=5)
    response = await client.call("POST", SYNC_JOB_PATH, CHAT, Idempotency_Key="k")
    body = await response.json()
    assert (response.status, body["job_id"], body["result"]) == (200, ticket["job_id"], ANSWER)


async def test_a_client_that_leaves_during_sync(world: World, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job stays as it is, and nothing is held for it; the server lets handlers go on, as the tracker does."""
    monkeypatch.setattr(following, "PRESENCE_S", 0.01)
    tracker, left = world.tracker, asyncio.Event()
    follow = following.follow

    async def watched(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for event in follow(*args, **kwargs):
            yield event
        left.set()

    monkeypatch.setattr("gpunode_tracker.handlers.jobs.follow", watched)
    runner = web.AppRunner(create_app(tracker), handler_cancellation=False, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    changes = tracker.news.changes
    async with ClientSession(headers=client.headers) as session:
        calling = asyncio.create_task(session.post(f"http://{host}:{port}{SYNC_JOB_PATH}", json=CHAT))
        await tracker.news.wait_for_queue(changes, 30)
        calling.cancel()
        async with asyncio.timeout(30):
            await left.wait()
    (view,) = (await page(client)).jobs
    assert (view.status, tracker.news._followers) == ("queued", {})
    await runner.cleanup()


async def test_a_database_that_is_gone_while_somebody_waits(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, not a failure."""

    async def gone(*_: Any) -> None:
        raise StorageUnavailable("The database is away.", retry_after_s=1)

    monkeypatch.setattr(following, "find_job_state", gone)
    response = await client.call("POST", SYNC_JOB_PATH, CHAT)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


async def test_who_waits_holds_no_memory(limited: World) -> None:
    """The body of a request that waits for its job is gone, and the request is not counted as being worked on."""
    client = await client_of(limited)
    body = {"type": "whisper", "params": {"audio": base64.b64encode(bytes(MIB)).decode()}}
    changes = limited.tracker.news.changes
    calling = asyncio.create_task(client.call("POST", SYNC_JOB_PATH, body))
    await limited.tracker.news.wait_for_queue(changes, 30)
    (job,) = (await page(client)).jobs
    events = read_events(await client.call("GET", JOB_EVENTS_PATH.format(job=job.job_id)))
    await anext(events)  # by then, the other one waits too
    assert len(limited.http.server.app[GUARD].in_flight) == 0  # type: ignore[union-attr]  # -- the test's own server has an application
    await client.call("DELETE", JOB_PATH.format(job=job.job_id))
    assert (await calling).status == 200


@pytest.mark.parametrize("limits", [Limits(connections_per_address=1)])
async def test_whoever_may_not_wait_has_no_job(limited: World) -> None:
    """Of an address of which as many wait as it may have connections, behind a proxy; 429 comes before the queue."""
    client = await client_of(limited)
    in_flight = limited.http.server.app[GUARD].in_flight  # type: ignore[union-attr]  # -- see above
    in_flight.waiting.take("127.0.0.1")
    response = await client.call("POST", SYNC_JOB_PATH, CHAT)
    assert (response.status, (await response.json())["code"]) == (429, "too_many_requests")
    assert (await page(client)).jobs == ()
    in_flight.waiting.give("127.0.0.1")
