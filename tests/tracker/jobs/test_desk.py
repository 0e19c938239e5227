"""Jobs come in and end, each with its money, its seals and its news in one step."""

import asyncio
import dataclasses
from typing import Any

import pytest
from gpunode_protocol.errors import JobError
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.jobs_api import MAX_ATTEMPTS
from gpunode_protocol.prices import Price
from gpunode_protocol.tasks import Task
from gpunode_tracker.entries import account_name, node_name, reserved_name
from gpunode_tracker.errors import Conflict, InsufficientCredits, KeyReused, KeysUnusable
from gpunode_tracker.jobs.desk import IDEMPOTENCY_S, FiledJob, Sender
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.storage.grants import SETTLEMENT_PERIOD_S, find_grant
from gpunode_tracker.storage.tables import jobs as jobs_table
from gpunode_tracker.storage.tables import webhooks
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import return_expired
from sqlalchemy import func, select

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import ANSWER, COST, HELLO, PROMPT_TOKENS, Queue, answer_request, submission
from tests.tracker.parties import TestClock

PAID = 10 * PROMPT_TOKENS + 30 * 2
"""What the answer of ``answer_request`` costs, micro-credits."""
GIVEN = 100_000_000


@pytest.fixture
def words(tracker: Tracker) -> list[Word]:
    """What was told of any job."""
    heard: list[Word] = []
    tracker.news.on_word = heard.append
    return heard


@pytest.fixture
async def account(world: World) -> str:
    """An account with 100 credits."""
    account, _ = await world.account()
    return account


async def stored(tracker: Tracker) -> int:
    """Return how many jobs there are."""
    async with tracker.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(jobs_table))).scalar_one())


async def test_a_job_reserves_its_worst_case(queue: Queue, account: str) -> None:
    """It moves to a reservation that the job names, and nothing else changes."""
    job = await queue.submit(account)
    assert job.status is JobStatus.QUEUED
    assert await queue.balance(reserved_name(job.jti or "")) == COST
    assert await queue.balance(account_name(account)) == GIVEN - COST
    async with queue.tracker.database.read() as connection:
        grant = await find_grant(connection, job.jti or "")
    assert grant is not None
    assert (grant.client, grant.tasks) == (queue.tracker.dispatch.peer_id, [Task.LLM])


async def test_what_is_kept_of_a_job(queue: Queue, account: str, clock: TestClock) -> None:
    """The row says what was asked for, by whom and from where."""
    job = await queue.submit(account, region="asia", priority=4, model="smollm2-135m")
    kept = await queue.job(job.id)
    assert kept == job
    assert (kept.lane, kept.rank) == ("llm/asia/smollm2-135m", int(clock.now * 1000) - 4 * 300_000)
    assert (kept.client_id, kept.client_address, kept.client_region) == ("key-1", "203.0.113.7", "europe")


async def test_parameters_are_sealed(queue: Queue, account: str) -> None:
    """Nobody reads them from the database, and those of one job cannot become another's."""
    job, other = await queue.submit(account), await queue.submit(account)
    assert b"Hello" not in job.params
    assert queue.tracker.desk.params_of(job) == HELLO
    with pytest.raises(KeysUnusable):
        queue.tracker.desk.params_of(dataclasses.replace(other, params=job.params))


async def test_an_account_that_cannot_pay(world: World, queue: Queue) -> None:
    """Nothing is kept, and the message says what was missing."""
    poor = (await world.admin.create_account("poor", credits_given=0)).id
    with pytest.raises(InsufficientCredits):
        await queue.submit(poor)
    assert await stored(queue.tracker) == 0


async def test_two_submissions_cannot_spend_the_same_credits(world: World, queue: Queue) -> None:
    """Reservations are taken one after the other, under the account's lock."""
    account, _ = await world.account(credits_given=1)
    params = HELLO | {"max_tokens": 20_000}  # 0.6 credits and a bit
    results = await asyncio.gather(*(queue.submit(account, params=params) for _ in range(4)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["InsufficientCredits"] * 3 + ["StoredJob"]
    assert await queue.balance(account_name(account)) >= 0


async def test_nothing_is_reserved_for_bad_parameters(queue: Queue, account: str) -> None:
    """They are looked at first."""
    with pytest.raises(JobError, match="no parameter 'modle'"):
        await queue.submit(account, params=HELLO | {"modle": "x"})
    assert await queue.balance(account_name(account)) == GIVEN


async def test_an_alias_costs_what_its_model_costs(queue: Queue, account: str) -> None:
    """So that the reservation is enough for whoever serves the model by its own name."""
    prices = {"qwen2.5-7b-instruct": Price(input_microcredits=20, output_microcredits=60)}
    queue.tracker.prices = queue.tracker.prices.model_copy(update={"models": prices})
    job = await queue.submit(account, model="Qwen2.5-7B")
    assert await queue.balance(reserved_name(job.jti or "")) == 2 * COST


async def test_a_task_without_a_price_costs_nothing(queue: Queue, account: str) -> None:
    """A job of it needs no credits, and ends like others."""
    queue.tracker.prices = queue.tracker.prices.model_copy(update={"tasks": {}})
    job = await queue.submit(account)
    assert await queue.balance(account_name(account)) == GIVEN
    await queue.tracker.desk.cancel(job)
    assert await queue.balance(account_name(account)) == GIVEN


async def test_who_waits_for_the_queue_hears_of_a_job(queue: Queue, account: str) -> None:
    """At once."""
    before = queue.tracker.news.changes
    await queue.submit(account)
    assert queue.tracker.news.changes == before + 1


async def test_cancelling_returns_everything_once(queue: Queue, account: str, words: list[Word]) -> None:
    """Again changes nothing."""
    job = await queue.submit(account)
    for _ in range(3):
        assert (await queue.tracker.desk.cancel(job)).status is JobStatus.CANCELLED
    assert await queue.balance(account_name(account)) == GIVEN
    assert await queue.balance(reserved_name(job.jti or "")) == 0
    assert await queue.ledger_sum() == 0
    assert words == [Word(job.id, "done", {"status": "cancelled"})]


async def test_a_job_that_completed_cannot_be_cancelled(queue: Queue, account: str) -> None:
    """Its result stands."""
    job = await queue.submit(account)
    _, lease = await queue.claim()
    await queue.tracker.desk.complete(lease, ANSWER, processing_ms=5)
    with pytest.raises(Conflict, match="completed already"):
        await queue.tracker.desk.cancel(job)


async def test_a_completion_without_key(queue: Queue, account: str, words: list[Word]) -> None:
    """The result is sealed, nobody is paid, and all that was reserved goes back."""
    await queue.submit(account)
    job, lease = await queue.claim()
    done = await queue.tracker.desk.complete(lease, ANSWER, processing_ms=2_500)
    assert done is not None
    kept = await queue.job(job.id)
    assert (kept.status, kept.processing_ms, kept.receipt_digest) == (JobStatus.COMPLETED, 2_500, None)
    assert b"Hi!" not in (kept.result or b"")
    assert queue.tracker.desk.result_of(kept) == ANSWER
    assert await queue.balance(account_name(account)) == GIVEN
    assert words == [Word(job.id, "done", {"status": "completed"})]


async def test_only_the_first_completion_counts(queue: Queue, account: str) -> None:
    """Late ones change nothing, whoever sends them."""
    job = await queue.submit(account)
    _, lease = await queue.claim()
    desk = queue.tracker.desk
    assert await desk.complete(dataclasses.replace(lease, holder="worker:other"), ANSWER, processing_ms=1) is None
    assert await desk.complete(lease, ANSWER, processing_ms=1) is not None
    assert await desk.complete(lease, {"response": "other"}, processing_ms=1) is None
    assert desk.result_of(await queue.job(job.id)) == ANSWER
    assert await queue.balance(account_name(account)) == GIVEN


async def signed_and_answered(queue: Queue, world: World, worker: Identity) -> tuple[StoredJob, Any, dict[str, Any]]:
    """Return a claimed job, its lease, and the arguments that end it with voucher and receipt."""
    await world.register(worker)
    job, lease = await queue.claim(f"worker:{worker.peer_id}")
    request = await queue.tracker.desk.signed_request(job, lease, worker.peer_id)
    done, result = answer_request(queue.tracker, request, worker)
    ended = {"result": result, "processing_ms": 7, "node": worker.peer_id}
    return job, lease, ended | {"voucher": done.voucher, "receipt": done.receipt}


async def test_a_worker_with_a_key_is_paid(queue: Queue, world: World, account: str) -> None:
    """Voucher and receipt are settled with the completion; the rest goes back."""
    worker = Identity.generate()
    await queue.submit(account)
    job, lease, ended = await signed_and_answered(queue, world, worker)
    done = await queue.tracker.desk.complete(lease, **ended)
    assert done is not None
    assert (done.node, done.receipt_digest) == (worker.peer_id, ended["receipt"].digest)
    assert await queue.balance(node_name(worker.peer_id)) == PAID
    assert await queue.balance(account_name(account)) == GIVEN - PAID
    assert await queue.balance(reserved_name(job.jti or "")) == 0
    assert await queue.ledger_sum() == 0
    assert queue.tracker.desk.result_of(await queue.job(job.id))["response"] == "Hi!"


async def test_who_lost_the_lease_is_not_paid(queue: Queue, world: World, account: str) -> None:
    """Fencing and payment are one step: whoever has the job now will be."""
    worker = Identity.generate()
    await queue.submit(account)
    _, lease, ended = await signed_and_answered(queue, world, worker)
    await queue.tracker.desk.fail(lease, "silent")
    assert await queue.tracker.desk.complete(lease, **ended) is None
    assert await queue.balance(node_name(worker.peer_id)) == 0
    assert await queue.balance(account_name(account)) == GIVEN - COST


async def test_promotional_credits_pay_nobody(queue: Queue, world: World) -> None:
    """A promotional account's job is done and priced like others, but the worker earns nothing spendable."""
    account, _ = await world.account(promotional=True)
    worker = Identity.generate()
    await queue.submit(account)
    _, lease, ended = await signed_and_answered(queue, world, worker)
    await queue.tracker.desk.complete(lease, **ended)
    assert await queue.balance(node_name(worker.peer_id)) == 0
    assert await queue.balance("promotional") == PAID
    assert await queue.balance(account_name(account)) == GIVEN - PAID


async def test_a_failed_attempt_is_queued_again(queue: Queue, account: str, words: list[Word]) -> None:
    """Its reservation stays, who waits for the queue hears of it, and the reason is kept."""
    await queue.submit(account)
    job, lease = await queue.claim()
    before = queue.tracker.news.changes
    again = await queue.tracker.desk.fail(lease, "out of memory\x1b[31m")
    assert again is not None
    assert (again.status, again.worker_id) == (JobStatus.QUEUED, None)
    assert await queue.balance(reserved_name(job.jti or "")) == COST
    assert (words, queue.tracker.news.changes) == ([Word(job.id, "queued")], before + 1)
    async with queue.tracker.database.read() as connection:
        assert await failures_of(connection, job.id) == ["out of memory [31m"]


async def test_the_last_attempt_fails_the_job(queue: Queue, account: str, words: list[Word]) -> None:
    """Three are made, each by another; then all that was reserved goes back."""
    job = await queue.submit(account)
    for number in range(MAX_ATTEMPTS - 1):
        _, lease = await queue.claim(f"worker:{number}")
        await queue.tracker.desk.fail(lease, f"reason {number}")
    _, lease = await queue.claim("worker:last")
    failed = await queue.tracker.desk.fail(lease, "reason 2")
    assert failed is not None
    assert (failed.status, failed.error) == (JobStatus.FAILED, "reason 2")
    assert await queue.balance(account_name(account)) == GIVEN
    assert words[-1] == Word(job.id, "done", {"status": "failed"})
    assert await queue.tracker.desk.fail(lease, "late") is None


async def test_what_nobody_can_do_fails_at_once(queue: Queue, account: str) -> None:
    """Not retryable."""
    await queue.submit(account)
    _, lease = await queue.claim()
    failed = await queue.tracker.desk.fail(lease, "the prompt is too long", retryable=False)
    assert failed is not None
    assert failed.status is JobStatus.FAILED
    assert await queue.balance(account_name(account)) == GIVEN


async def test_giving_up_a_job_that_waits(queue: Queue, account: str) -> None:
    """It fails with its reason; one that runs is not touched."""
    waiting, running = await queue.submit(account), await queue.submit(account, priority=9)
    await queue.claim()
    desk = queue.tracker.desk
    assert await desk.give_up(running.id, "too old") is None
    failed = await desk.give_up(waiting.id, "too old")
    assert failed is not None
    assert (failed.status, failed.error) == (JobStatus.FAILED, "too old")
    assert await queue.balance(account_name(account)) == GIVEN - COST


async def test_a_dispatched_jobs_node_is_paid_after_a_cancellation(
    queue: Queue, account: str, clock: TestClock
) -> None:
    """The reservation stays until the dispatch has settled what it owes, or for two hours."""
    first, second = await queue.submit(account), await queue.submit(account)
    for _ in range(2):
        await queue.claim("dispatch:here")
    for job in (first, second):
        await queue.tracker.desk.cancel(job)
    assert await queue.balance(reserved_name(first.jti or "")) == COST
    await queue.tracker.desk.give_back(first)
    await queue.tracker.desk.give_back(first)
    assert await queue.balance(account_name(account)) == GIVEN - COST
    clock.advance(SETTLEMENT_PERIOD_S)
    await return_expired(queue.tracker)
    assert await queue.balance(account_name(account)) == GIVEN
    assert await queue.ledger_sum() == 0


async def test_a_forgotten_reservation_goes_back(queue: Queue, account: str, clock: TestClock) -> None:
    """Whatever becomes of the job: the tracker's upkeep returns it two hours after its day."""
    job = await queue.submit(account)
    clock.advance(24 * 3600 + SETTLEMENT_PERIOD_S)
    assert await return_expired(queue.tracker) == 1
    await queue.tracker.desk.cancel(job)
    assert await queue.balance(account_name(account)) == GIVEN
    assert await queue.ledger_sum() == 0


async def file(queue: Queue, account_id: str, key: str | None, **changes: Any) -> FiledJob:
    """Submit under an idempotency key."""
    sender = Sender(await queue.account(account_id), "key-1", "203.0.113.7", None)
    return await queue.tracker.desk.file(sender, submission(**changes), key)


async def test_one_key_one_job(queue: Queue, account: str) -> None:
    """The same key and content name the same job, however often, and reserve once."""
    first = await file(queue, account, "order-1")
    again = await file(queue, account, "order-1")
    assert (first.is_new, again.is_new, again.job.id) == (True, False, first.job.id)
    assert await queue.balance(account_name(account)) == GIVEN - COST


async def test_two_at_the_same_moment_create_one(queue: Queue, account: str) -> None:
    """Eight of them, in fact."""
    filed = await asyncio.gather(*(file(queue, account, "order-1") for _ in range(8)))
    assert len({item.job.id for item in filed}) == 1
    assert [item.is_new for item in filed].count(True) == 1


async def test_one_key_two_contents(queue: Queue, account: str) -> None:
    """A mistake, and said to be one."""
    await file(queue, account, "order-1")
    with pytest.raises(KeyReused):
        await file(queue, account, "order-1", priority=3)
    assert await stored(queue.tracker) == 1


async def test_keys_are_each_accounts_own(world: World, queue: Queue, account: str) -> None:
    """Another account's key of the same name names another job."""
    other, _ = await world.account()
    assert (await file(queue, account, "k")).job.id != (await file(queue, other, "k")).job.id


async def test_a_key_is_free_again_after_a_day(queue: Queue, account: str, clock: TestClock) -> None:
    """Then it names a new job."""
    first = await file(queue, account, "order-1")
    clock.advance(IDEMPOTENCY_S)
    second = await file(queue, account, "order-1", priority=3)
    assert second.is_new
    assert second.job.id != first.job.id
    assert not (await file(queue, account, "order-1", priority=3)).is_new


async def test_a_webhook_is_due_from_the_jobs_end_on(queue: Queue, account: str, clock: TestClock) -> None:
    """Address and secret are sealed; the secret is told once."""
    filed = await file(queue, account, None, webhook="https://example.org/done?id=7")
    assert filed.webhook_secret

    async def due_at() -> int | None:
        async with queue.tracker.database.read() as connection:
            row = (await connection.execute(select(webhooks))).one()
        sealer, job = queue.tracker.sealer, filed.job.id
        assert sealer.open(row.url, f"webhooks.url/{job}") == b"https://example.org/done?id=7"
        assert sealer.open(row.secret, f"webhooks.secret/{job}").decode() == filed.webhook_secret
        due: int | None = row.due_at
        return due

    assert await due_at() is None
    clock.advance(60)
    await queue.tracker.desk.cancel(filed.job)
    assert await due_at() == queue.tracker.now


async def test_a_tracker_without_prices_of_a_model_takes_the_tasks(queue: Queue, account: str) -> None:
    """A model that nobody serves may be asked for: it costs what its task costs."""
    job = await queue.submit(account, model="no-such-model")
    assert await queue.balance(reserved_name(job.jti or "")) == COST


async def test_signed_requests_are_one_nodes(queue: Queue, account: str) -> None:
    """The desk signs by ``WorkOrders`` and reads what was kept."""
    peer: PeerId = Identity.generate().peer_id
    await queue.submit(account)
    job, lease = await queue.claim()
    request = await queue.tracker.desk.signed_request(job, lease, peer)
    kept = queue.tracker.desk.request_of(await queue.job(job.id))
    assert kept == request
    assert queue.tracker.desk.request_of(job) is None
