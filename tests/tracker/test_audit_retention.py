"""Old entries of the audit log."""

import pytest
from gpunode_protocol.validation import MAX_INT64
from gpunode_tracker import audit_retention
from gpunode_tracker.audit import Action
from gpunode_tracker.audit_retention import forget_old_entries
from gpunode_tracker.storage.audit import AuditFilter, newest_records, record
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import Upkeep

from tests.tracker.parties import TestClock

KEPT_S = 400 * 24 * 3600


async def _add(tracker: Tracker, *subjects: str) -> None:
    async with tracker.database.write() as connection:
        for subject in subjects:
            await record(connection, "operator", Action.BANNED, subject, at=tracker.now)


async def _subjects(tracker: Tracker) -> list[str]:
    async with tracker.database.read() as connection:
        found = await newest_records(connection, AuditFilter(action="banned"), before_id=MAX_INT64, limit=100)
    return [each.subject for each in found]


async def test_entries_are_kept_for_their_time(
    tracker: Tracker, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 days and not longer, in batches; younger ones stay."""
    monkeypatch.setattr(audit_retention, "BATCH_ENTRIES", 2)
    await _add(tracker, "a", "b", "c", "d")
    clock.advance(KEPT_S)
    await _add(tracker, "e")
    assert await forget_old_entries(tracker) == 0
    clock.advance(1)
    assert await forget_old_entries(tracker) >= 4
    assert await _subjects(tracker) == ["e"]
    assert await forget_old_entries(tracker) == 0


async def test_upkeep_does_it(tracker: Tracker, clock: TestClock) -> None:
    """By itself."""
    await _add(tracker, "a")
    clock.advance(KEPT_S + 1)
    await Upkeep(tracker)._tidy()
    assert await _subjects(tracker) == []
