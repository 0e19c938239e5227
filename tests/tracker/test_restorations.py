"""What restores leave behind."""

from gpunode_protocol.ledger_entries import RestoredLog
from gpunode_protocol.merkle import EMPTY_ROOT
from gpunode_tracker.entries import Bookkeeper
from gpunode_tracker.restorations import next_sequence, note_restoration, raise_floors, restorations
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.documents import DocumentKind
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH


async def test_entries_of_restores(tracker: Tracker) -> None:
    """In their order, and nobody's own."""
    log = RestoredLog(log="old", size=0, root=EMPTY_ROOT, issued_at=START_AT)
    async with tracker.database.write() as connection:
        assert await restorations(connection) == []
        for _ in range(2):
            row = await ledger.append(connection, Bookkeeper(tracker.keys.network, START_AT).restored(log))
            await note_restoration(connection, row)
        found = await restorations(connection)
        assert [entry.entry.restored for entry in found] == [log, log]
        assert found[0].row < found[1].row
        assert await ledger.owners_of_entry(connection, row) == set()


async def test_sequences_begin_beyond_what_can_have_been_lost(tracker: Tracker) -> None:
    """One a second since the last that is known; without a restore they count on."""
    kind = DocumentKind.REVOCATIONS
    async with tracker.database.write() as connection:
        assert await next_sequence(connection, kind, 0) == 1
        assert await next_sequence(connection, kind, 7) == 8
        await raise_floors(connection, now=START_AT + 100)
        known = tracker.revocations.body.sequence
        assert await next_sequence(connection, kind, known) == known + 101
        assert await next_sequence(connection, kind, 5_000) == 5_001
        await raise_floors(connection, now=START_AT - 100)  # a clock that went back
        assert await next_sequence(connection, kind, known) == known + 1
