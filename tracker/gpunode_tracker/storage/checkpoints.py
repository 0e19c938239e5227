"""Checkpoints of balances: derived sums that keep later sums short. They may be deleted at any time."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.ledger import balance
from gpunode_tracker.storage.locks import keep_writers_out
from gpunode_tracker.storage.tables import balance_checkpoints, transfers
from gpunode_tracker.storage.upserts import insert_or_update


async def newest_transfer(connection: AsyncConnection) -> int:
    """Return the number of the newest transfer, 0 if there is none."""
    return int((await connection.execute(select(func.max(transfers.c.id)))).scalar_one() or 0)


async def accounts_between(connection: AsyncConnection, after: int, until: int) -> list[str]:
    """Return the ledger accounts that transfers ``after < id <= until`` touched."""
    query = select(transfers.c.account).where(transfers.c.id > after, transfers.c.id <= until).distinct()
    return list((await connection.execute(query)).scalars())


async def transfers_since_checkpoint(connection: AsyncConnection, account: str) -> int:
    """Return how many transfers a balance adds up."""
    last = select(balance_checkpoints.c.last_transfer).where(balance_checkpoints.c.account == account)
    covered = (await connection.execute(last)).scalar_one_or_none() or 0
    count = select(func.count()).where(transfers.c.account == account, transfers.c.id > covered)
    return int((await connection.execute(count)).scalar_one())


async def write_checkpoint(connection: AsyncConnection, account: str) -> None:
    """Remember the account's present sum. Needs a writing transaction, which keeps others from writing transfers."""
    # transfers get their numbers before they are committed: one with a smaller number than the newest may still come
    await keep_writers_out(connection, transfers)
    newest = select(func.max(transfers.c.id)).where(transfers.c.account == account)
    last = (await connection.execute(newest)).scalar_one()
    if last is None:
        return
    amount = await balance(connection, account)
    values = {"account": account, "last_transfer": last, "microcredits": amount}
    await insert_or_update(connection, balance_checkpoints, values)
