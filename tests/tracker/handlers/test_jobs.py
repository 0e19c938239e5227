"""Jobs over HTTP: submitted once, whatever is in them."""

import asyncio
import base64
import json
from typing import Any

import pytest
from gpunode_protocol.jobs_api import (
    IDEMPOTENCY_KEY_HEADER,
    JOB_PATH,
    JOBS_PATH,
    SYNC_JOB_PATH,
    JobTicket,
)
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.estimates import NOBODY, Capacity
from gpunode_tracker.limits import MIB, Budget, Limits
from gpunode_tracker.rates import Rate

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import CHAT, GIVEN, Client, Everybody, client_of
from tests.tracker.jobs.queue_parties import COST, HELLO


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


async def test_nobody_is_believed_to_be_elsewhere(client: Client) -> None:
    """A header of who is no proxy says nothing of where a job comes from."""
    answers = [await client.call("POST", JOBS_PATH, CHAT, X_Forwarded_For=f"81.2.69.{number}") for number in (1, 2)]
    jobs = [await client.queue.job((await answer.json())["job_id"]) for answer in answers]
    assert {(job.client_address, job.client_region) for job in jobs} == {("127.0.0.1", None)}


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


async def test_two_keys_name_nothing(client: Client) -> None:
    """A proxy might take the other one; no job is made."""
    headers = [("Authorization", client.headers["Authorization"]), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    response = await client.world.http.post(JOBS_PATH, json=CHAT, headers=headers)
    assert (response.status, (await response.json())["code"]) == (400, "malformed")
    assert await client.balance() == GIVEN


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
    """1 to 255 printable ASCII characters without spaces, as the answer says."""
    status, _, detail = await client.problem("POST", JOBS_PATH, CHAT, Idempotency_Key=key)
    assert (status, "255" in detail, "without spaces" in detail) == (422, True, True)
