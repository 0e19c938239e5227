"""The append-only ledger: entries, their transfers and the balances that follow from them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.merkle import leaf_hash
from sqlalchemy import Text, bindparam, func, insert, select, update
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

# made once: making a statement takes longer than executing it
_ADD_ENTRY: Final = insert(ledger_entries).returning(ledger_entries.c.row)
_ADD_TRANSFERS: Final = insert(transfers)
_ADD_OWNERS: Final = insert(entry_owners)
_OF_ACCOUNT: Final = bindparam("of_account", type_=Text)
_LAST_COUNTED: Final = (
    select(balance_checkpoints.c.last_transfer).where(balance_checkpoints.c.account == _OF_ACCOUNT).scalar_subquery()
)
_BALANCE: Final = select(
    select(balance_checkpoints.c.microcredits).where(balance_checkpoints.c.account == _OF_ACCOUNT).scalar_subquery(),
    select(func.sum(transfers.c.microcredits))
    .where(transfers.c.account == _OF_ACCOUNT, transfers.c.id > func.coalesce(_LAST_COUNTED, 0))
    .scalar_subquery(),
)


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
    leaf = new.leaf
    values = {"id": entry.id, "kind": entry.kind, "at": entry.at, "leaf": leaf, "leaf_hash": leaf_hash(leaf)}
    row: int = (await connection.execute(_ADD_ENTRY, values)).scalar_one()
    if entry.transfers:
        lines = [{"entry_row": row, "account": t.account, "microcredits": t.microcredits} for t in entry.transfers]
        await connection.execute(_ADD_TRANSFERS, lines)
    if new.owners:
        owners = [{"owner": owner, "entry_row": row} for owner in sorted(new.owners)]
        await connection.execute(_ADD_OWNERS, owners)
    return row


async def balance(connection: AsyncConnection, account: str) -> int:
    """Return the sum of all transfers of a ledger account, in micro-credits."""
    until_checkpoint, since = (await connection.execute(_BALANCE, {"of_account": account})).one()
    return int(until_checkpoint or 0) + int(since or 0)


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
