"""Webhooks in the database."""

from typing import Any

import pytest
from gpunode_tracker.storage import webhooks
from gpunode_tracker.storage.webhooks import DueWebhook
from gpunode_tracker.tracker import Tracker
from sqlalchemy import text

from tests.tracker.databases import ON_SQLITE
from tests.tracker.parties import TestClock, job_id
from tests.tracker.webhooks.ended_jobs import make_due, new_account, row_of, submit


@pytest.fixture
async def account(tracker: Tracker) -> str:
    """An account."""
    return await new_account(tracker)


async def _claim(tracker: Tracker, **changes: Any) -> list[DueWebhook]:
    wanted = {"now": tracker.now, "hold_s": 60, "limit": 10, "per_account": 10, "busy": {}} | changes
    async with tracker.database.write() as connection:
        return await webhooks.claim_due(connection, **wanted)


async def test_what_is_due_is_claimed_with_what_it_tells(tracker: Tracker, account: str) -> None:
    """Once: whoever comes second gets nothing, until the first one's time is over."""
    await submit(tracker, 1, account, error="no worker", status="failed")
    await make_due(tracker, 1)
    (found,) = await _claim(tracker)
    assert (found.job_id, found.account_id, found.tries) == (job_id(1), account, 1)
    assert (found.type, found.status, found.completed_at, found.error) == ("llm", "failed", tracker.now, "no worker")
    assert await _claim(tracker) == []


async def test_a_claim_ends_if_nobody_says_what_came_of_it(tracker: Tracker, clock: TestClock, account: str) -> None:
    """Its holder has died; the next try counts on."""
    await submit(tracker, 1, account)
    await make_due(tracker, 1)
    await _claim(tracker)
    clock.advance(59)
    assert await _claim(tracker) == []
    clock.advance(1)
    (found,) = await _claim(tracker)
    assert found.tries == 2


async def test_the_oldest_go_first(tracker: Tracker, clock: TestClock, account: str) -> None:
    """As many as are wanted."""
    for number in (3, 1, 2):
        await submit(tracker, number, account)
        await make_due(tracker, number)
        clock.advance(1)
    assert [found.job_id for found in await _claim(tracker, limit=2)] == [job_id(3), job_id(1)]


async def test_no_account_gets_more_than_its_share(tracker: Tracker, account: str) -> None:
    """Those that are being sent count; others' are reached past those of a full one."""
    other = await new_account(tracker)
    for number in range(1, 5):
        await submit(tracker, number, account if number < 4 else other)
        await make_due(tracker, number)
    first = await _claim(tracker, per_account=2, busy={account: 1}, limit=10)
    assert sorted(found.account_id for found in first) == sorted([account, other])
    assert await _claim(tracker, per_account=2, busy={account: 2}) == []
    assert len(await _claim(tracker, per_account=2)) == 2


async def test_when_the_next_is_due(tracker: Tracker, account: str) -> None:
    """None, while none is."""
    await submit(tracker, 1, account)
    async with tracker.database.read() as connection:
        assert await webhooks.next_due_at(connection) is None
    await make_due(tracker, 1)
    async with tracker.database.read() as connection:
        assert await webhooks.next_due_at(connection) == tracker.now


async def test_a_delivered_one_is_over(tracker: Tracker, clock: TestClock, account: str) -> None:
    """When it arrived is kept, and no problem."""
    await submit(tracker, 1, account)
    await make_due(tracker, 1)
    await _claim(tracker)
    async with tracker.database.write() as connection:
        await webhooks.note_failed(connection, job_id(1), 1, "it was answered 500", next_at=tracker.now + 10)
    clock.advance(10)
    await _claim(tracker)
    async with tracker.database.write() as connection:
        await webhooks.note_delivered(connection, job_id(1), 2, now=tracker.now)
    row = await row_of(tracker, 1)
    assert (row["tries"], row["due_at"], row["delivered_at"], row["problem"]) == (2, None, tracker.now, None)


async def test_who_comes_late_changes_nothing(tracker: Tracker, clock: TestClock, account: str) -> None:
    """A sender that was thought dead does not say over the next one's try."""
    await submit(tracker, 1, account)
    await make_due(tracker, 1)
    await _claim(tracker)
    clock.advance(60)
    await _claim(tracker)
    before = await row_of(tracker, 1)
    async with tracker.database.write() as connection:
        await webhooks.note_delivered(connection, job_id(1), 1, now=tracker.now)
        await webhooks.note_failed(connection, job_id(1), 1, "late", next_at=None)
    assert await row_of(tracker, 1) == before


async def test_a_given_up_one_keeps_its_reason(tracker: Tracker, account: str) -> None:
    """And is not due any more, nor made due again."""
    await submit(tracker, 1, account)
    await make_due(tracker, 1)
    await _claim(tracker)
    async with tracker.database.write() as connection:
        await webhooks.note_failed(connection, job_id(1), 1, "it was answered 410", next_at=None)
    row = await row_of(tracker, 1)
    assert (row["due_at"], row["problem"]) == (None, "it was answered 410")
    assert not await make_due(tracker, 1)


@ON_SQLITE
async def test_looking_for_what_is_due_walks_along_an_index(tracker: Tracker) -> None:
    """However many webhooks are kept."""
    query = webhooks.due_query(now=1, limit=10, except_accounts=["a"])
    async with tracker.database.read() as connection:
        statement = query.compile(connection.sync_connection, compile_kwargs={"literal_binds": True})
        plan = (await connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))).all()
    steps = [row.detail for row in plan]
    assert "SEARCH webhooks USING INDEX ix_webhooks_due_at (due_at<?)" in steps
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step]
