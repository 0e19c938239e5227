"""The append-only ledger: entries, their transfers and the balances that follow from them."""

from collections.abc import Sequence
from typing import NamedTuple

from gpunode_protocol.ledger_entries import LedgerEntry
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.entries import NewEntry
from gpunode_tracker.storage.tables import (
    balance_checkpoints,
    entry_owners,
    ledger_entries,
    sequencers,
    transfers,
)
from gpunode_tracker.storage.upserts import upsert

_UNSEQUENCED = ledger_entries.c.position.is_(None)


class StoredEntry(NamedTuple):
    """An entry as it stands. position: number in the log, None until it is sequenced."""

    row: int
    leaf: bytes
    position: int | None

    @property
    def entry(self) -> LedgerEntry:
        """The entry that the leaf holds."""
        return LedgerEntry.from_leaf(self.leaf)


async def append(connection: AsyncConnection, new: NewEntry) -> int:
    """Write an entry, unsequenced, with its transfers and owners; return its row."""
    entry = new.entry
    result = await connection.execute(
        insert(ledger_entries)
        .values(id=entry.id, kind=entry.kind, at=entry.at, leaf=new.leaf, leaf_hash=new.leaf_hash)
        .returning(ledger_entries.c.row)
    )
    row: int = result.scalar_one()
    if entry.transfers:
        lines = [{"entry_row": row, "account": t.account, "microcredits": t.microcredits} for t in entry.transfers]
        await connection.execute(insert(transfers), lines)
    if new.owners:
        owners = [{"owner": owner, "entry_row": row} for owner in sorted(new.owners)]
        await connection.execute(insert(entry_owners), owners)
    return row


async def balance(connection: AsyncConnection, account: str) -> int:
    """Return the sum of all transfers of a ledger account, in micro-credits."""
    checkpoint = (
        await connection.execute(select(balance_checkpoints).where(balance_checkpoints.c.account == account))
    ).first()
    last, amount = (checkpoint.last_transfer, checkpoint.microcredits) if checkpoint else (0, 0)
    newer = select(func.sum(transfers.c.microcredits)).where(transfers.c.account == account, transfers.c.id > last)
    return amount + int((await connection.execute(newer)).scalar_one() or 0)


async def entries_of(
    connection: AsyncConnection, owner: str, *, before_row: int | None, limit: int
) -> list[StoredEntry]:
    """Return the owner's entries, newest first, older than ``before_row`` if given."""
    query = (
        select(ledger_entries.c.row, ledger_entries.c.leaf, ledger_entries.c.position)
        .join(entry_owners, entry_owners.c.entry_row == ledger_entries.c.row)
        .where(entry_owners.c.owner == owner)
        .order_by(entry_owners.c.entry_row.desc())
        .limit(limit)
    )
    if before_row is not None:
        query = query.where(entry_owners.c.entry_row < before_row)
    return [StoredEntry(*row) for row in await connection.execute(query)]


async def entry_at(connection: AsyncConnection, row: int) -> StoredEntry:
    """Return the entry of a row, which must exist."""
    columns = (ledger_entries.c.row, ledger_entries.c.leaf, ledger_entries.c.position)
    return StoredEntry(*(await connection.execute(select(*columns).where(ledger_entries.c.row == row))).one())


async def entry_id_at(connection: AsyncConnection, row: int) -> str:
    """Return the id of the entry of a row, which must exist."""
    query = select(ledger_entries.c.id).where(ledger_entries.c.row == row)
    return str((await connection.execute(query)).scalar_one())


async def leaf_hashes(connection: AsyncConnection, start: int, limit: int | None = None) -> list[bytes]:
    """Return the hashes of the sequenced leaves from number ``start`` on, in order."""
    query = (
        select(ledger_entries.c.leaf_hash)
        .where(ledger_entries.c.position >= start)
        .order_by(ledger_entries.c.position)
        .limit(limit)
    )
    return list((await connection.execute(query)).scalars())


async def take_epoch(connection: AsyncConnection, log: str) -> int:
    """Become the log's sequencer: return a new epoch, which ends the one before."""
    first = upsert(connection, sequencers).values(log=log, epoch=1)
    next_one = first.on_conflict_do_update(index_elements=["log"], set_={"epoch": sequencers.c.epoch + 1})
    return int((await connection.execute(next_one.returning(sequencers.c.epoch))).scalar_one())


async def take_epoch_after(connection: AsyncConnection, log: str, epoch: int) -> bool:
    """Become the log's sequencer with the epoch after ``epoch``; return False if somebody else did that already."""
    is_last = sequencers.c.log == log, sequencers.c.epoch == epoch
    changed = await connection.execute(update(sequencers).where(*is_last).values(epoch=epoch + 1))
    return changed.rowcount > 0


async def current_epoch(connection: AsyncConnection, log: str, *, lock: bool = False) -> int:
    """Return the epoch in force, 0 before the first; ``lock``: nobody takes one until the transaction ends."""
    query = select(sequencers.c.epoch).where(sequencers.c.log == log)
    found = await connection.execute(query.with_for_update() if lock else query)
    return int(found.scalar_one_or_none() or 0)


async def unsequenced_since(connection: AsyncConnection) -> int | None:
    """Return when the oldest entry without a number was written (Unix seconds), None if all have one."""
    query = select(ledger_entries.c.at).where(_UNSEQUENCED).order_by(ledger_entries.c.row).limit(1)
    at: int | None = (await connection.execute(query)).scalar_one_or_none()
    return at


async def unsequenced(connection: AsyncConnection, limit: int) -> Sequence[tuple[int, bytes]]:
    """Return rows and leaf hashes that have no number yet, oldest first."""
    query = (
        select(ledger_entries.c.row, ledger_entries.c.leaf_hash)
        .where(_UNSEQUENCED)
        .order_by(ledger_entries.c.row)
        .limit(limit)
    )
    return [(row.row, row.leaf_hash) for row in await connection.execute(query)]


async def set_positions(connection: AsyncConnection, rows: Sequence[int], first_position: int) -> None:
    """Number leaves, in the order given."""
    if rows:
        statement = update(ledger_entries).where(ledger_entries.c.row == bindparam("of_row"))
        numbers = [{"of_row": row, "position": number} for number, row in enumerate(rows, start=first_position)]
        await connection.execute(statement.values(position=bindparam("position")), numbers)


async def owners_of_entry(connection: AsyncConnection, row: int) -> set[str]:
    """Return who may read an entry."""
    return set(
        (await connection.execute(select(entry_owners.c.owner).where(entry_owners.c.entry_row == row))).scalars()
    )
