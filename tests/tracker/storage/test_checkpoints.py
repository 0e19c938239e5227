"""Checkpoints are derived: without them everything is the same."""

from gpunode_tracker.entries import ISSUANCE, Bookkeeper, account_name
from gpunode_tracker.storage import checkpoints, ledger
from gpunode_tracker.storage.tables import balance_checkpoints
from gpunode_tracker.tracker import Tracker
from sqlalchemy import delete

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH

BOOK = Bookkeeper("0" * 40, START_AT)


async def test_checkpoints_can_be_deleted(tracker: Tracker) -> None:
    """The balance with one, without one, and with a newer transfer after it."""
    async with tracker.database.write() as connection:
        for _ in range(5):
            await ledger.append(connection, BOOK.issue("a", 7))
        assert await checkpoints.transfers_since_checkpoint(connection, ISSUANCE) == 5
        await checkpoints.write_checkpoint(connection, ISSUANCE)
        assert await checkpoints.transfers_since_checkpoint(connection, ISSUANCE) == 0
        await ledger.append(connection, BOOK.issue("a", 1))
        with_checkpoint = await ledger.balance(connection, ISSUANCE)
        await connection.execute(delete(balance_checkpoints))
        assert await ledger.balance(connection, ISSUANCE) == with_checkpoint == -36


async def test_which_accounts_were_touched(tracker: Tracker) -> None:
    """Only those of the given range of transfers; an account without transfers gets no checkpoint."""
    async with tracker.database.write() as connection:
        await ledger.append(connection, BOOK.issue("a", 1))
        middle = await checkpoints.newest_transfer(connection)
        await ledger.append(connection, BOOK.issue("b", 1))
        newest = await checkpoints.newest_transfer(connection)
        touched = await checkpoints.accounts_between(connection, middle, newest)
        assert sorted(touched) == [account_name("b"), ISSUANCE]
        await checkpoints.write_checkpoint(connection, "account:nobody")
        assert await ledger.balance(connection, "account:nobody") == 0
