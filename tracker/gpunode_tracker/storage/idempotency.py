"""Idempotency keys: which job a client's key named first."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import idempotency_keys


@dataclass(frozen=True)
class UsedKey:
    """The job that a key named, and the digest of the body that it came with."""

    job_id: str
    body_digest: bytes


async def find_used_key(
    connection: AsyncConnection, account_id: str, key: str, *, created_after: int
) -> UsedKey | None:
    """Return what a key of an account named, if that is not too long ago."""
    query = select(idempotency_keys.c.job_id, idempotency_keys.c.body_digest).where(
        idempotency_keys.c.account_id == account_id,
        idempotency_keys.c.key == key,
        idempotency_keys.c.created_at > created_after,
    )
    row = (await connection.execute(query)).first()
    return UsedKey(*row) if row else None


async def remember_key(connection: AsyncConnection, account_id: str, key: str, used: UsedKey, *, now: int) -> None:
    """Let a key name a job; one that it named long ago is forgotten. Needs the account's lock."""
    named = idempotency_keys.c.account_id == account_id, idempotency_keys.c.key == key
    await connection.execute(delete(idempotency_keys).where(*named))
    values = {"account_id": account_id, "key": key, "job_id": used.job_id, "body_digest": used.body_digest}
    await connection.execute(insert(idempotency_keys).values(**values, created_at=now))


async def forget_keys(connection: AsyncConnection, *, created_before: int, limit: int) -> int:
    """Delete old keys, at most ``limit``; return how many there were."""
    old = (
        select(idempotency_keys.c.account_id, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < created_before)
        .order_by(idempotency_keys.c.created_at)
        .limit(limit)
    )
    rows = (await connection.execute(old)).all()
    for row in rows:
        named = idempotency_keys.c.account_id == row.account_id, idempotency_keys.c.key == row.key
        await connection.execute(delete(idempotency_keys).where(*named))
    return len(rows)
