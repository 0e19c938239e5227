"""The audit log in the database."""

import pytest
from gpunode_protocol.validation import MAX_INT64
from gpunode_tracker.audit import Action
from gpunode_tracker.storage.audit import AuditFilter, forget_records, newest_records, record
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH

ALL = AuditFilter()


async def _write(tracker: Tracker) -> None:
    async with tracker.database.write() as connection:
        await record(connection, "operator", Action.BANNED, "account:a", {"until": None}, at=START_AT)
        await record(connection, "key:k", Action.KEY_CREATED, "key:n", {"scopes": ["jobs"]}, "192.0.2.1", at=START_AT)
        await record(connection, "key:k", Action.BANNED, "node:p", {"reason": "lies"}, "192.0.2.1", at=START_AT + 5)


async def test_entries_come_back_as_they_were_written(tracker: Tracker) -> None:
    """Newest first, with all that was noted, page by page."""
    await _write(tracker)
    async with tracker.database.read() as connection:
        first = await newest_records(connection, ALL, before_id=MAX_INT64, limit=2)
        rest = await newest_records(connection, ALL, before_id=first[-1].id, limit=2)
    newest = first[0]
    assert (newest.actor, newest.action, newest.subject, newest.at) == ("key:k", "banned", "node:p", START_AT + 5)
    assert (newest.address, newest.detail) == ("192.0.2.1", {"reason": "lies"})
    assert first[1].detail == {"scopes": ["jobs"]}
    assert [(entry.actor, entry.address, entry.detail) for entry in rest] == [("operator", "", {"until": None})]


@pytest.mark.parametrize(
    ("wanted", "subjects"),
    [
        (AuditFilter(actor="operator"), ["account:a"]),
        (AuditFilter(action="banned"), ["node:p", "account:a"]),
        (AuditFilter(subject="key:n"), ["key:n"]),
        (AuditFilter(actor="key:k", action="banned"), ["node:p"]),
        (AuditFilter(since=START_AT + 1), ["node:p"]),
        (AuditFilter(until=START_AT), ["key:n", "account:a"]),
        (AuditFilter(actor="nobody"), []),
    ],
)
async def test_filters(wanted: AuditFilter, subjects: list[str], tracker: Tracker) -> None:
    """All that are given hold at once."""
    await _write(tracker)
    async with tracker.database.read() as connection:
        found = await newest_records(connection, wanted, before_id=MAX_INT64, limit=10)
    assert [entry.subject for entry in found] == subjects


async def test_secrets_are_cut_out(tracker: Tracker) -> None:
    """Somebody pastes a key into a reason, or into a path."""
    async with tracker.database.write() as connection:
        await record(connection, "operator", "x", "key:gpn_0123456789", {"reason": "is gpw_0123456789"}, at=START_AT)
        (entry,) = await newest_records(connection, ALL, before_id=MAX_INT64, limit=10)
    assert (entry.subject, entry.detail) == ("key:gpn_…", {"reason": "is gpw_…"})


async def test_an_entry_shares_its_transactions_fate(tracker: Tracker) -> None:
    """What was not done was not noted."""

    async def fail() -> None:
        async with tracker.database.write() as connection:
            await record(connection, "operator", Action.BANNED, "account:a", at=START_AT)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with tracker.database.read() as connection:
        assert await newest_records(connection, ALL, before_id=MAX_INT64, limit=10) == []


async def test_the_oldest_are_forgotten(tracker: Tracker) -> None:
    """So many at most, and only those of before."""
    await _write(tracker)
    async with tracker.database.write() as connection:
        assert await forget_records(connection, before=START_AT, limit=9) == 0
        assert await forget_records(connection, before=START_AT + 1, limit=1) == 1
        assert await forget_records(connection, before=START_AT + 1, limit=9) == 1
        assert [entry.subject for entry in await newest_records(connection, ALL, before_id=MAX_INT64, limit=9)] == [
            "node:p"
        ]
