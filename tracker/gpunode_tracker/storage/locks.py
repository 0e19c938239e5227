"""Named locks, held until the end of the transaction: for what is decided by more than the rows that are written.

On SQLite writers take turns anyway, so nothing is to be done there.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import ARRAY, BigInteger, Table, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection


class Lock(StrEnum):
    """What only one transaction at a time does, of all replicas."""

    SCHEMA = "schema"
    KEYS = "keys"
    REVOCATIONS = "revocations"


async def take(connection: AsyncConnection, *names: str) -> None:
    """Wait until no other transaction holds one of these locks, and hold them.

    Whoever needs several takes them in one call: it takes them in an order that is the same for all.
    """
    if names and is_postgresql(connection):
        numbers = sorted({_number(name) for name in names})
        taken = func.unnest(bindparam("numbers", numbers, ARRAY(BigInteger))).column_valued("number")
        await connection.execute(select(func.pg_advisory_xact_lock(taken)))


def job_locks(jobs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of the locks for the settlements of some jobs, each a client's peer id and a job id."""
    return [f"settle/{client}/{job}" for client, job in jobs]


def node_lock(peer: str) -> str:
    """Return the name of the lock for a node that may have no row yet; who holds the row must not wait for this."""
    return f"node/{peer}"


async def keep_writers_out(connection: AsyncConnection, table: Table) -> None:
    """Wait until all who write to a table have ended, and let nobody write to it until this transaction ends."""
    if is_postgresql(connection):
        await connection.execute(text(f'LOCK TABLE "{table.name}" IN SHARE ROW EXCLUSIVE MODE'))


def is_postgresql(connection: AsyncConnection) -> bool:
    """Return whether rows are locked one by one here, and writers do not take turns."""
    return connection.dialect.name == "postgresql"


def _number(name: str) -> int:
    """Return the number under which PostgreSQL knows a lock: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"gpunode/{name}".encode()).digest()[:8], "big", signed=True)
