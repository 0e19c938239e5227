"""Own jobs over HTTP: seen, listed, cancelled; nobody else's."""

import pytest
from gpunode_protocol.jobs_api import (
    JOB_EVENTS_PATH,
    JOB_PATH,
    JOBS_PATH,
    SYNC_JOB_PATH,
)
from gpunode_tracker.jobs.estimates import NOBODY

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import GIVEN, Client, client_of, page
from tests.tracker.jobs.queue_parties import ANSWER
from tests.tracker.parties import job_id


async def test_a_queued_job(client: Client) -> None:
    """Its place in the queue counts those before it."""
    first, second = await client.submit(priority=1), await client.submit()
    views = [await client.view(ticket.job_id) for ticket in (first, second)]
    assert [(view.status, view.position, view.note) for view in views] == [
        ("queued", 0, NOBODY),
        ("queued", 1, NOBODY),
    ]
    assert (views[0].result, views[0].served_by, views[0].attempts) == (None, None, 0)


async def test_a_completed_job(client: Client) -> None:
    """The plan's shape: status and result with response and usage."""
    ticket = await client.submit()
    _, lease = await client.queue.claim("worker:w1")
    await client.world.tracker.desk.complete(lease, ANSWER, processing_ms=5)
    body = await (await client.call("GET", JOB_PATH.format(job=ticket.job_id))).json()
    assert (body["status"], body["result"]) == ("completed", ANSWER)
    assert (body["served_by"], body["attempts"], "position" in body) == ("worker:w1", 1, False)


async def test_a_failed_job(client: Client) -> None:
    """With the reason of each attempt."""
    ticket = await client.submit()
    for number in range(3):
        _, lease = await client.queue.claim(f"worker:w{number}")
        await client.world.tracker.desk.fail(lease, f"reason {number}")
    view = await client.view(ticket.job_id)
    assert (view.status, view.error) == ("failed", "reason 2")
    assert view.failures == ("reason 0", "reason 1", "reason 2")


async def test_failures_are_told_wherever_a_job_is(client: Client) -> None:
    """In lists and in the answer to a cancellation, too; each job's own."""
    await client.submit()
    for number in range(2):
        _, lease = await client.queue.claim(f"worker:w{number}")
        await client.world.tracker.desk.fail(lease, f"reason {number}")
    untried = await client.submit()
    listed = {view.job_id: view.failures for view in (await page(client, "")).jobs}
    assert listed == {lease.job_id: ("reason 0", "reason 1"), untried.job_id: ()}
    cancelled = await (await client.call("DELETE", JOB_PATH.format(job=lease.job_id))).json()
    assert cancelled["failures"] == ["reason 0", "reason 1"]


@pytest.mark.parametrize(("method", "path"), [("GET", JOB_PATH), ("DELETE", JOB_PATH), ("GET", JOB_EVENTS_PATH)])
async def test_another_accounts_job_is_not_there(world: World, client: Client, method: str, path: str) -> None:
    """As if it did not exist; and it stays as it is."""
    ticket = await client.submit()
    stranger = await client_of(world)
    answers = [await stranger.problem(method, path.format(job=job)) for job in (ticket.job_id, job_id(7))]
    assert {(status, code) for status, code, _ in answers} == {(404, "not_found")}
    assert len({detail for _, _, detail in answers}) == 1
    for job in ("x", "%00"):
        assert (await stranger.problem(method, path.format(job=job)))[:2] == (404, "not_found")
    assert (await client.view(ticket.job_id)).status == "queued"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", JOBS_PATH), ("POST", SYNC_JOB_PATH), ("GET", JOBS_PATH), ("GET", JOB_PATH), ("DELETE", JOB_PATH)],
)
async def test_without_a_key(world: World, method: str, path: str) -> None:
    """401, whatever else is wrong."""
    response = await world.http.request(method, path.format(job=job_id(1)), data="{")
    assert response.status == 401


async def test_cancelling(client: Client) -> None:
    """What was reserved goes back; again changes nothing."""
    ticket = await client.submit()
    for _ in range(2):
        response = await client.call("DELETE", JOB_PATH.format(job=ticket.job_id))
        assert (response.status, (await response.json())["status"]) == (200, "cancelled")
    assert await client.balance() == GIVEN


async def test_cancelling_what_has_ended(client: Client) -> None:
    """409, and the result stays."""
    ticket = await client.submit()
    _, lease = await client.queue.claim()
    await client.world.tracker.desk.complete(lease, ANSWER, processing_ms=5)
    status, code, detail = await client.problem("DELETE", JOB_PATH.format(job=ticket.job_id))
    assert (status, code, "completed" in detail) == (409, "conflict", True)
    assert (await client.view(ticket.job_id)).result == ANSWER


async def test_own_jobs_newest_first(world: World, client: Client) -> None:
    """In pages, each job once, nobody else's."""
    await (await client_of(world)).submit()
    made = []
    for _ in range(5):
        world.tracker.clock.advance(1)  # type: ignore[attr-defined]  # -- the test's clock
        made.append((await client.submit()).job_id)
    seen, query = list[str](), "?limit=2"
    while True:
        found = await page(client, query)
        seen += [view.job_id for view in found.jobs]
        if found.next_cursor is None:
            break
        query = f"?limit=2&cursor={found.next_cursor}"
    assert seen == made[::-1]


async def test_filters(client: Client) -> None:
    """By status and type; results are left out."""
    await client.submit()
    _, lease = await client.queue.claim()
    await client.world.tracker.desk.complete(lease, ANSWER, processing_ms=5)
    other = await client.submit(type="embedding", params={"input": "x"})
    (done,) = (await page(client, "?status=completed")).jobs
    assert (done.job_id, done.result) == (lease.job_id, None)
    assert [view.job_id for view in (await page(client, "?type=embedding&status=queued")).jobs] == [other.job_id]
    assert (await page(client, "?type=whisper")).jobs == ()


@pytest.mark.parametrize(
    "query", ["?status=done", "?type=poem", "?limit=101", "?limit=-1", "?limit=x", "?cursor=7", "?cursor=';--"]
)
async def test_queries_that_mean_nothing(client: Client, query: str) -> None:
    """422, named."""
    status, code, _ = await client.problem("GET", JOBS_PATH + query)
    assert (status, code) == (422, "invalid")
