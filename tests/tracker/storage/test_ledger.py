"""The ledger's tables: balances are sums, checkpoints change none of them."""

import random

from gpunode_tracker.entries import ISSUANCE, Bookkeeper, account_name
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.checkpoints import write_checkpoint
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH

BOOK = Bookkeeper("0" * 40, START_AT)


async def test_balances_are_sums(tracker: Tracker) -> None:
    """With checkpoints at random moments the balances are those of plain addition, and all add up to zero."""
    rng = random.Random(1)
    plain = {"a": 0, "b": 0}
    async with tracker.database.write() as connection:
        for _ in range(60):
            account, amount = rng.choice(["a", "b"]), rng.randrange(1, 100)
            await ledger.append(connection, BOOK.issue(account, amount))
            plain[account] += amount
            if rng.random() < 0.2:
                await write_checkpoint(connection, account_name(rng.choice(["a", "b", "nobody"])))
        balances = [await ledger.balance(connection, account_name(account)) for account in plain]
        issued = await ledger.balance(connection, ISSUANCE)
    assert balances == list(plain.values())
    assert issued == -sum(balances)


async def test_entries_have_owners(tracker: Tracker) -> None:
    """Each owner sees its own entries, newest first, in pages."""
    async with tracker.database.write() as connection:
        rows = [await ledger.append(connection, BOOK.issue(account, 1)) for account in ("a", "b", "a", "a")]
        first = await ledger.entries_of(connection, account_name("a"), before_row=None, limit=2)
        rest = await ledger.entries_of(connection, account_name("a"), before_row=first[-1].row, limit=2)
        assert [item.row for item in [*first, *rest]] == [rows[3], rows[2], rows[0]]
        assert await ledger.owners_of_entry(connection, rows[1]) == {account_name("b")}
        assert await ledger.entry_id_at(connection, rows[0]) == rest[0].entry.id
        assert (await ledger.entry_at(connection, rows[0])).position is None
