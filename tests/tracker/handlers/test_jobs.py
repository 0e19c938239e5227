"""Jobs over HTTP: submitted, seen, waited for, followed, cancelled and listed."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from gpunode_protocol.jobs_api import (
    IDEMPOTENCY_KEY_HEADER,
    JOB_EVENTS_PATH,
    JOB_PATH,
    JOBS_PATH,
    SYNC_JOB_PATH,
    JobsPage,
    JobTicket,
    JobView,
)
from gpunode_protocol.tasks import Task
from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.entries import account_name
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs import following
from gpunode_tracker.jobs.estimates import NOBODY, Capacity
from gpunode_tracker.jobs.job import Lease
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.limits import MIB, Budget, Limits
from gpunode_tracker.rates import Rate

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import ANSWER, COST, HELLO, Queue
from tests.tracker.parties import job_id

CHAT: dict[str, Any] = {"type": "llm", "params": HELLO}
GIVEN = 100_000_000


class Client:
    """Somebody with an API key."""

    def __init__(self, world: World, account: str, key: str) -> None:
        self.world = world
        self.account = account
        self.headers = {"Authorization": f"Bearer {key}"}
        self.queue = Queue(world.tracker)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> ClientResponse:
        """Send a request; ``body``: text as it is, anything else as JSON."""
        data = None if body is None else io.BytesIO(_bytes_of(body))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.world.http.request(method, path, data=data, headers=self.headers | named)

    async def submit(self, **changes: Any) -> JobTicket:
        """Submit a chat."""
        response = await self.call("POST", JOBS_PATH, CHAT | changes)
        assert response.status == 202, await response.text()
        return JobTicket.model_validate_json(await response.text())

    async def view(self, job: str) -> JobView:
        """Return a job."""
        response = await self.call("GET", JOB_PATH.format(job=job))
        assert response.status == 200, await response.text()
        return JobView.model_validate_json(await response.text())

    async def problem(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        """Return status, code and detail of a refusal."""
        response = await self.call(method, path, body, **headers)
        assert response.content_type == "application/problem+json", await response.text()
        value = await response.json()
        return response.status, value["code"], value["detail"]

    async def balance(self) -> int:
        """Return what the account can spend, micro-credits."""
        return await self.queue.balance(account_name(self.account))


def _bytes_of(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


async def client_of(world: World, **account: Any) -> Client:
    """Return a new client."""
    return Client(world, *await world.account(**account))


@pytest.fixture
async def client(world: World) -> Client:
    """A client with 100 credits."""
    return await client_of(world)


class Everybody:
    """A source of capacities that says what it is told."""

    def __init__(self, *capacities: Capacity) -> None:
        self._capacities = capacities

    async def capacities(self) -> list[Capacity]:
        """Return them."""
        return list(self._capacities)


# Submitting


async def test_the_plans_request(client: Client) -> None:
    """An id, ``queued``, and where to ask for it."""
    response = await client.call("POST", JOBS_PATH, {**CHAT, "region": "asia"})
    ticket = JobTicket.model_validate_json(await response.text())
    assert (response.status, ticket.status, ticket.webhook_secret) == (202, "queued", None)
    assert response.headers["Location"] == JOB_PATH.format(job=ticket.job_id)
    assert response.headers["Cache-Control"] == "no-store"


async def test_what_nobody_can_do_says_so_at_once(client: Client) -> None:
    """No wait is invented."""
    ticket = await client.submit()
    assert (ticket.estimated_wait, ticket.note) == (None, NOBODY)


async def test_a_model_that_nobody_serves_may_be_asked_for(client: Client) -> None:
    """The note counts why nobody can do it."""
    worker = Capacity(who="worker:1", tasks=frozenset({Task.LLM}), models=frozenset({"small"}))
    client.world.tracker.outlook.sources.append(Everybody(worker))
    ticket = await client.submit(model="no-such-model")
    assert ticket.note == "No live worker or node can do this now: 1 is online, 1 lacks the model."


async def test_somebody_free_means_no_wait(client: Client) -> None:
    """One slot: the first job starts at once, the second after the first."""
    worker = Capacity(who="worker:1", tasks=frozenset({Task.LLM}), processing_ms=4_000)
    client.world.tracker.outlook.sources.append(Everybody(worker))
    tickets = [await client.submit(priority=9), await client.submit()]
    assert [ticket.estimated_wait for ticket in tickets] == [0.0, 4.0]


@pytest.mark.parametrize(
    ("change", "status", "named"),
    [
        ({"type": "poem"}, 422, "type"),
        ({"type": None}, 422, "type"),
        ({"params": []}, 422, "params"),
        ({"params": {}}, 422, "messages: is missing"),
        ({"params": HELLO | {"modle": "x"}}, 422, "no parameter 'modle'"),
        ({"params": HELLO | {"max_tokens": 10**30}}, 422, "max_tokens"),
        ({"params": HELLO | {"temperature": 1e308}}, 422, "temperature: must be at most 2"),
        ({"priority": 10}, 422, "priority: must be at most 9"),
        ({"priority": -1}, 422, "priority: must be at least 0"),
        ({"region": "mars"}, 422, "region"),
        ({"model": "a b"}, 422, "model"),
        ({"model": "a/../b"}, 422, "model"),
        ({"model": "x" * 65}, 422, "model: must have at most 64"),
        ({"model": "x\r\nX-Evil: 1"}, 422, "model"),
        ({"model": "';DROP TABLE jobs;--"}, 422, "model"),
        ({"webhook": "http://example.org"}, 422, "webhook: "),
        ({"webhook": "https://127.0.0.1/"}, 422, "webhook: "),
        ({"webhook": "x" * 2_001}, 422, "webhook: must have at most 2,000"),
        ({"regoin": "asia"}, 422, "regoin: is not known here"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_reserved(
    client: Client, change: dict[str, Any], status: int, named: str
) -> None:
    """Everything is looked at before credits move."""
    body = {name: value for name, value in (CHAT | change).items() if value is not None}
    found, _, detail = await client.problem("POST", JOBS_PATH, body)
    assert (found, named in detail) == (status, True), detail
    assert await client.balance() == GIVEN


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"x"',
        b"\xff\xfe",
        '{"type": "llm", "params": ' + '{"a":' * 5_000 + "1" + "}" * 5_001,
        '{"type": "llm", "params": {"messages": [{"role": "user", "content": "\\ud800"}]}}',
    ],
)
async def test_bodies_that_are_no_submission(client: Client, body: str | bytes) -> None:
    """Nothing of the kind, broken text, or nested without end: a refusal, never a failure."""
    status, code, _ = await client.problem("POST", JOBS_PATH, body)
    assert (status, code) in {(400, "malformed"), (422, "invalid")}


async def test_deep_but_sound_json(client: Client) -> None:
    """A schema may be nested; what the wire cannot take is refused."""
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        deep = {"type": "object", "properties": {"a": deep}}
    assert (await client.submit(params=HELLO | {"json_schema": deep})).status == "queued"


async def test_control_characters_are_the_clients_business(client: Client) -> None:
    """In a prompt; it comes back as it went, and NUL too."""
    text = "\x00\x01\x1b[31m\u2028\U0001f600"
    ticket = await client.submit(params={"messages": [{"role": "user", "content": text}]})
    job = await client.queue.job(ticket.job_id)
    assert client.world.tracker.desk.params_of(job)["messages"][0]["content"] == text


async def test_ten_megabytes_of_audio(client: Client) -> None:
    """Are a job like others."""
    audio = base64.b64encode(bytes(10_000_000)).decode()
    ticket = await client.submit(type="whisper", params={"audio": audio})
    job = await client.queue.job(ticket.job_id)
    assert len(client.world.tracker.desk.params_of(job)["audio"]) == len(audio)


async def test_ten_megabytes_of_text(client: Client) -> None:
    """Are more than a request to a node can hold."""
    params = {"messages": [{"role": "user", "content": "x" * 900_000}] * 11}
    status, _, detail = await client.problem("POST", JOBS_PATH, {"type": "llm", "params": params})
    assert (status, "about 1 MiB" in detail) == (422, True)


@pytest.mark.parametrize("limits", [Limits(job_body_bytes=MIB, large_body_bytes_per_address=MIB)])
async def test_a_body_that_is_too_large(limited: World) -> None:
    """413, and the account keeps its credits."""
    client = await client_of(limited)
    body = json.dumps({"type": "whisper", "params": {"audio": "A" * MIB}})
    assert (await client.problem("POST", JOBS_PATH, body))[0] == 413
    assert await client.balance() == GIVEN


async def test_an_account_without_credits(world: World) -> None:
    """402, with what was missing."""
    account = await world.admin.create_account("poor", credits_given=0)
    client = Client(world, account.id, await world.admin.create_key(account.id))
    status, code, detail = await client.problem("POST", JOBS_PATH, CHAT)
    assert (status, code) == (402, "insufficient_credits")
    assert f"{COST / 1_000_000:.6f}" in detail


async def test_where_a_client_is(limited: World) -> None:
    """By the address that it comes from; kept with the job."""
    client = await client_of(limited)
    response = await client.call("POST", JOBS_PATH, CHAT, X_Forwarded_For="81.2.69.142")
    job = await client.queue.job((await response.json())["job_id"])
    assert (job.client_address, job.client_region) == ("81.2.69.142", "europe")
    assert (await client.queue.job((await client.submit()).job_id)).client_region is None


@pytest.mark.parametrize("limits", [Limits(rates={Budget.SUBMITS: Rate(per_minute=1, burst=2)})])
async def test_submissions_are_counted(limited: World) -> None:
    """Both ways to submit share a budget."""
    client = await client_of(limited)
    await client.submit()
    await client.submit()
    for path in (JOBS_PATH, SYNC_JOB_PATH):
        response = await client.call("POST", path, CHAT)
        assert (response.status, "Retry-After" in response.headers) == (429, True)


async def test_a_webhooks_secret_is_in_the_ticket(client: Client) -> None:
    """The same job again says it again."""
    body = CHAT | {"webhook": "https://example.org/done"}
    tickets = [await (await client.call("POST", JOBS_PATH, body, Idempotency_Key="k")).json() for _ in range(2)]
    assert tickets[0]["webhook_secret"]
    assert tickets[0] == tickets[1]


# Once


async def test_the_same_key_names_the_same_job(client: Client) -> None:
    """200 says that nothing new was made."""
    first = await client.call("POST", JOBS_PATH, CHAT, Idempotency_Key="order-1")
    again = await client.call("POST", JOBS_PATH, CHAT, Idempotency_Key="order-1")
    assert (first.status, again.status) == (202, 200)
    assert (await first.json())["job_id"] == (await again.json())["job_id"]
    assert await client.balance() == GIVEN - COST


async def test_two_at_the_same_moment_create_one_job(client: Client) -> None:
    """Whoever is first."""
    responses = await asyncio.gather(
        *(client.call("POST", JOBS_PATH, CHAT, Idempotency_Key="order-1") for _ in range(6))
    )
    assert len({(await response.json())["job_id"] for response in responses}) == 1
    assert sorted(response.status for response in responses) == [200] * 5 + [202]


async def test_a_key_with_another_body(client: Client) -> None:
    """A mistake, said clearly."""
    await client.call("POST", JOBS_PATH, CHAT, Idempotency_Key="order-1")
    status, code, detail = await client.problem("POST", JOBS_PATH, CHAT | {"priority": 1}, Idempotency_Key="order-1")
    assert (status, code) == (422, "idempotency_key_reused")
    assert IDEMPOTENCY_KEY_HEADER in detail


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "käse"])
async def test_keys_that_are_none(client: Client, key: str) -> None:
    """1 to 255 printable ASCII characters."""
    status, _, detail = await client.problem("POST", JOBS_PATH, CHAT, Idempotency_Key=key)
    assert (status, "255" in detail) == (422, True)


# Seeing


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


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("path", [JOB_PATH, JOB_EVENTS_PATH])
async def test_another_accounts_job_is_not_there(world: World, client: Client, method: str, path: str) -> None:
    """As if it did not exist; and it stays as it is."""
    if (method, path) == ("DELETE", JOB_EVENTS_PATH):
        pytest.skip("events are only read")
    ticket = await client.submit()
    stranger = await client_of(world)
    answers = [
        await stranger.problem(method, path.format(job=job)) for job in (ticket.job_id, job_id(7), "x", "%00", "sync")
    ]
    assert {(status, code) for status, code, _ in answers} == {(404, "not_found")}
    assert len({detail for _, _, detail in answers}) == 1
    assert (await client.view(ticket.job_id)).status == "queued"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", JOBS_PATH), ("POST", SYNC_JOB_PATH), ("GET", JOBS_PATH), ("GET", JOB_PATH), ("DELETE", JOB_PATH)],
)
async def test_without_a_key(world: World, method: str, path: str) -> None:
    """401, whatever else is wrong."""
    response = await world.http.request(method, path.format(job=job_id(1)), data="{")
    assert response.status == 401


# Cancelling


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


# Listing


async def page(client: Client, query: str = "") -> JobsPage:
    """Return one page of the client's jobs."""
    response = await client.call("GET", JOBS_PATH + query)
    assert response.status == 200, await response.text()
    return JobsPage.model_validate_json(await response.text())


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


# Waiting for the result


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
    """504 names the job, which goes on and can be asked for."""
    tracker = client.world.tracker
    tracker.settings = tracker.settings.model_copy(update={"sync_timeout_s": 0.05})
    response = await client.call("POST", SYNC_JOB_PATH, CHAT)
    body = await response.json()
    assert (response.status, response.content_type) == (504, "application/problem+json")
    assert (body["code"], body["status"]) == ("not_ended", 504)
    assert response.headers["Location"] == JOB_PATH.format(job=body["job_id"])
    assert (await client.view(body["job_id"])).status == "queued"


async def test_sync_with_a_key_waits_for_the_same_job(client: Client) -> None:
    """A client that comes again after 504 gets the result of the first call's job."""
    ticket = await (await client.call("POST", JOBS_PATH, CHAT, Idempotency_Key="k")).json()
    _, lease = await client.queue.claim()
    await client.world.tracker.desk.complete(lease, ANSWER, processing_ms=5)
    response = await client.call("POST", SYNC_JOB_PATH, CHAT, Idempotency_Key="k")
    body = await response.json()
    assert (response.status, body["job_id"], body["result"]) == (200, ticket["job_id"], ANSWER)


async def test_a_client_that_leaves_during_sync(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job stays as it is, and nothing is held for it."""
    left, tracker = asyncio.Event(), client.world.tracker
    follow = following.follow

    async def watched(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async for event in follow(*args, **kwargs):
                yield event
        finally:
            left.set()

    monkeypatch.setattr("gpunode_tracker.handlers.jobs.follow", watched)
    monkeypatch.setattr(following, "PRESENCE_S", 0.01)
    calling = asyncio.create_task(client.call("POST", SYNC_JOB_PATH, CHAT))
    await tracker.news.wait_for_queue(tracker.news.changes, 30)
    calling.cancel()
    async with asyncio.timeout(30):
        await left.wait()
    (view,) = (await page(client)).jobs
    assert view.status == "queued"
    assert tracker.news._followers == {}


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


# Following


async def read_events(response: ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Yield name and data of each event; comments have the name ``:``."""
    while block := (await _block(response)):
        lines = dict(line.split(": ", 1) for line in block.rstrip().splitlines())
        yield (lines["event"], json.loads(lines["data"])) if "event" in lines else (":", None)


async def _block(response: ClientResponse) -> str:
    text = b""
    while not text.endswith(b"\n\n"):
        line = await response.content.readline()
        if not line:
            assert not text
            return ""
        text += line
    return text.decode()


async def test_events_in_their_order(client: Client) -> None:
    """The present state first, done last, then the stream ends."""
    ticket = await client.submit()
    tracker = client.world.tracker
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    assert (response.status, response.content_type) == (200, "text/event-stream")
    assert (response.headers["Cache-Control"], "X-Request-ID" in response.headers) == ("no-store", True)
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


async def test_a_tracker_that_stops_ends_its_streams(world: World, client: Client) -> None:
    """Nobody waits for a stream that has no end of its own."""
    ticket = await client.submit()
    response = await client.call("GET", JOB_EVENTS_PATH.format(job=ticket.job_id))
    events = read_events(response)
    await anext(events)
    await world.http.server.app.shutdown()  # type: ignore[union-attr]  # -- the test's own server has an application
    assert [event async for event in events if event[0] != ":"] == []
