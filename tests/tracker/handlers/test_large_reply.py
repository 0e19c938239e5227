"""Results of megabytes: who reads them slowly, and how many at once."""

import asyncio
import base64

import aiohttp
import pytest
from gpunode_protocol.jobs_api import JOB_PATH, JOBS_PATH, LEASE_S, NEXT_JOB_PATH, SYNC_JOB_PATH
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.handlers import large_reply
from gpunode_tracker.in_flight import InFlight
from gpunode_tracker.limits import MIB, Limits

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import CHAT, Client, client_of
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import pull_worker

LARGE_BYTES = 8 * MIB
"""More than the buffers of a connection take whose client does not read."""


def _in_flight(world: World) -> InFlight:
    return world.http.server.app[GUARD].in_flight  # type: ignore[union-attr]  # -- the test's own server has an application


async def _large_job(client: Client, size_bytes: int) -> str:
    """Return the path of a job with a large result."""
    job = (await (await client.call("POST", JOBS_PATH, CHAT)).json())["job_id"]
    _, lease = await client.queue.claim()
    await client.world.tracker.desk.complete(lease, {"response": "a" * size_bytes}, processing_ms=5)
    return JOB_PATH.format(job=job)


async def test_a_large_result_takes_memory_until_it_is_read(limited: World) -> None:
    """It arrives whole, with what every answer says; the request counts as long as it is not sent."""
    client = await client_of(limited)
    path = await _large_job(client, LARGE_BYTES)
    response = await client.call("GET", path)
    assert len(_in_flight(limited)) == 1
    assert len((await response.json())["result"]["response"]) == LARGE_BYTES
    assert {"X-Request-ID", "RateLimit", "Content-Length"} <= response.headers.keys()
    assert response.content_type == "application/json"
    assert len(_in_flight(limited)) == 0


async def test_who_reads_a_large_result_too_slowly_is_cut_off(limited: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop by drop, it would keep memory from others for an hour."""
    monkeypatch.setattr(large_reply, "GRACE_S", 0.01)
    monkeypatch.setattr(large_reply, "SLOW_LINE_BYTES_PER_S", 100 * LARGE_BYTES)
    client = await client_of(limited)
    response = await client.call("GET", await _large_job(client, LARGE_BYTES))
    async with asyncio.timeout(10):
        while len(_in_flight(limited)):  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
    with pytest.raises(aiohttp.ClientError):
        await response.read()


async def test_head_of_a_large_result(client: Client) -> None:
    """Has its length and nothing more: what follows would be taken for the next answer of the connection."""
    path = await _large_job(client, MIB)
    response = await client.call("HEAD", path)
    assert int(response.headers["Content-Length"]) > MIB
    assert len((await (await client.call("GET", path)).json())["result"]["response"]) == MIB


@pytest.mark.parametrize("limits", [Limits(large_body_bytes_per_address=MIB)])
async def test_large_results_of_one_address_at_once(limited: World) -> None:
    """Beyond its memory it is told to come again; small ones are none of it."""
    client = await client_of(limited)
    small, large = await _large_job(client, 10), await _large_job(client, MIB // 2)
    _in_flight(limited).take_bytes("127.0.0.1", MIB)
    response = await client.call("GET", large)
    assert (response.status, response.headers["Retry-After"]) == (429, "5")
    assert (await client.call("GET", small)).status == 200
    _in_flight(limited).give_bytes("127.0.0.1", MIB)
    assert (await client.call("GET", large)).status == 200


@pytest.mark.parametrize("limits", [Limits(large_body_bytes_per_address=MIB)])
async def test_sync_whose_result_cannot_be_sent_names_the_job(limited: World) -> None:
    """The job has ended, and its result is there to be fetched."""
    client = await client_of(limited)
    news = limited.tracker.news
    changes = news.changes
    calling = asyncio.create_task(client.call("POST", SYNC_JOB_PATH, CHAT))
    await news.wait_for_queue(changes, 30)
    _, lease = await client.queue.claim()
    _in_flight(limited).take_bytes("127.0.0.1", MIB)
    await limited.tracker.desk.complete(lease, {"response": "a" * (MIB // 2)}, processing_ms=5)
    response = await calling
    assert (response.status, response.headers["Location"]) == (429, JOB_PATH.format(job=lease.job_id))
    assert b'gpunode_tracker_rejected_total{reason="large_bodies"}' in limited.tracker.metrics.render()
    _in_flight(limited).give_bytes("127.0.0.1", MIB)
    assert (await client.call("GET", response.headers["Location"])).status == 200


@pytest.mark.parametrize("limits", [Limits(large_body_bytes_per_address=MIB)])
async def test_a_large_job_for_a_worker_without_memory_for_it(limited: World) -> None:
    """It is told to come again, and the job waits on, with all of its attempts."""
    client, worker = await client_of(limited), await pull_worker(limited, supported_types=["whisper"])
    audio = base64.b64encode(bytes(MIB // 2)).decode()
    ticket = await client.submit(type="whisper", params={"audio": audio})
    _in_flight(limited).take_bytes("127.0.0.1", MIB)
    response = await worker.get(NEXT_JOB_PATH)
    assert (response.status, response.headers["Retry-After"]) == (429, "5")
    assert ((await client.view(ticket.job_id)).status, (await client.view(ticket.job_id)).attempts) == ("queued", 0)
    assert limited.tracker.workers.presence.status_of(worker.id) == "online"
    _in_flight(limited).give_bytes("127.0.0.1", MIB)
    given = await worker.next_job()
    assert (given.job_id, given.attempt) == (ticket.job_id, 1)
    assert len(_in_flight(limited)) == 0


@pytest.mark.full
async def test_a_worker_reads_a_large_job(limited: World) -> None:
    """Likewise its request counts until it is sent; no cache may keep it."""
    client, worker = await client_of(limited), await pull_worker(limited, supported_types=["whisper"])
    audio = base64.b64encode(bytes(LARGE_BYTES // 4 * 3)).decode()
    await client.submit(type="whisper", params={"audio": audio})
    response = await worker.get(NEXT_JOB_PATH)
    assert len(_in_flight(limited)) == 1
    assert (await response.json())["params"]["audio"] == audio
    assert response.headers["Cache-Control"] == "no-store"
    assert len(_in_flight(limited)) == 0


async def test_a_worker_that_leaves_in_the_middle_of_a_large_job(limited: World) -> None:
    """The job is for others at once, and not only when its lease has run out."""
    client, worker = await client_of(limited), await pull_worker(limited, supported_types=["whisper"])
    server = limited.http.server.runner.server  # type: ignore[union-attr]  # -- the test's own server runs
    server.handler_cancellation = False  # type: ignore[union-attr]  # -- as the tracker runs it
    audio = base64.b64encode(bytes(LARGE_BYTES // 4 * 3)).decode()
    ticket = await client.submit(type="whisper", params={"audio": audio})
    response = await worker.get(NEXT_JOB_PATH)
    assert (await client.view(ticket.job_id)).status == "running"
    response.close()
    async with asyncio.timeout(10):
        while len(_in_flight(limited)):  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
    view = await client.view(ticket.job_id)
    assert (view.status, view.failures) == ("queued", ("The worker left before it had got the job.",))
    assert limited.tracker.workers.presence.status_of(worker.id) == "online"


async def test_a_large_job_whose_way_takes_longer_than_its_lease(limited: World, clock: TestClock) -> None:
    """It stays its worker's while piece after piece is taken, and ends as every job."""
    client, worker = await client_of(limited), await pull_worker(limited, supported_types=["whisper"])
    audio = base64.b64encode(bytes(LARGE_BYTES // 4 * 3)).decode()
    ticket = await client.submit(type="whisper", params={"audio": audio})
    response = await worker.get(NEXT_JOB_PATH)
    clock.advance(LEASE_S - 1)
    given = await response.json()
    assert len(_in_flight(limited)) == 0
    clock.advance(LEASE_S - 1)
    assert limited.tracker.workers.presence.status_of(worker.id) == "busy"
    assert await limited.tracker.workers.outcomes.expire_leases() == 0
    assert (await client.view(ticket.job_id)).status == "running"
    done = await worker.complete(ticket.job_id, success=True, result={"text": "Hello"}, attempt=given["attempt"])
    assert done.status == "completed"
