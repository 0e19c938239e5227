"""Grants: what each one reserved, for whom, and until when."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, case, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import grants, jobs, transfers

SETTLEMENT_PERIOD_S = 2 * 3600
"""A reservation lasts this long after its grant's end, so that late receipts are paid."""


_ADD_GRANT: Final = insert(grants)


@dataclass(frozen=True, kw_only=True)
class StoredGrant:
    """A grant as the ledger needs it. node_caps: micro-credits by peer id, None for an open cap."""

    jti: str
    account_id: str
    client: str
    tasks: Sequence[str]
    node_caps: Mapping[str, int] | None
    reserved: int
    price_version: int
    issued_at: int
    expires_at: int
    revoked_at: int | None = None
    release_at: int
    returned_at: int | None = None


async def add_grant(connection: AsyncConnection, grant: StoredGrant) -> None:
    """Keep a new grant."""
    values = dict(vars(grant)) | {
        "tasks": list(grant.tasks),
        "node_caps": dict(grant.node_caps) if grant.node_caps is not None else None,
    }
    await connection.execute(_ADD_GRANT, values)


async def find_grant(connection: AsyncConnection, jti: str, *, lock: bool = False) -> StoredGrant | None:
    """Return a grant; ``lock`` keeps others from settling under it until the transaction ends."""
    query = select(grants).where(grants.c.jti == jti)
    row = (await connection.execute(query.with_for_update(key_share=True) if lock else query)).first()
    return _grant(row) if row else None


async def lock_grants(connection: AsyncConnection, jtis: Collection[str]) -> dict[str, StoredGrant]:
    """Return those of some grants that exist, by id, locked as ``find_grant`` does.

    They are locked in order of their ids, so that two who lock several never wait for each other.
    """
    query = select(grants).where(grants.c.jti.in_(jtis)).order_by(grants.c.jti).with_for_update(key_share=True)
    return {row.jti: _grant(row) for row in await connection.execute(query)}


async def revoke_grant(connection: AsyncConnection, jti: str, *, now: int) -> bool:
    """Let a grant end now instead of at its expiry; return whether there was a live one."""
    result = await connection.execute(
        update(grants)
        .where(grants.c.jti == jti, grants.c.revoked_at.is_(None), grants.c.expires_at > now)
        .values(revoked_at=now, release_at=now + SETTLEMENT_PERIOD_S)
    )
    return result.rowcount > 0


async def revoke_direct_grants(connection: AsyncConnection, account_id: str, *, now: int) -> None:
    """Let an account's live grants end now, but those that pay its queued jobs."""
    of_jobs = select(jobs.c.jti).where(jobs.c.account_id == account_id, jobs.c.jti.is_not(None))
    query = update(grants).where(
        grants.c.account_id == account_id,
        grants.c.revoked_at.is_(None),
        grants.c.expires_at > now,
        grants.c.jti.not_in(of_jobs),
    )
    await connection.execute(query.values(revoked_at=now, release_at=now + SETTLEMENT_PERIOD_S))


async def revoked_grants(connection: AsyncConnection, *, now: int) -> list[str]:
    """Return revoked grants that did not expire on their own yet."""
    query = select(grants.c.jti).where(grants.c.revoked_at.is_not(None), grants.c.expires_at > now)
    return sorted((await connection.execute(query)).scalars())  # here: an ORDER BY makes SQLite read the whole table


async def grants_to_return(connection: AsyncConnection, *, now: int, limit: int) -> list[StoredGrant]:
    """Return grants whose reservation is to go back."""
    return [_grant(row) for row in await connection.execute(grants_to_return_query(now=now, limit=limit))]


def grants_to_return_query(*, now: int, limit: int) -> Select[Any]:
    """Return the query for them; it locks the rows, so that nobody settles under them meanwhile.

    Those that are due for longest come first; those under which somebody settles just now are left for the next time.
    """
    query = select(grants).where(grants.c.returned_at.is_(None), grants.c.release_at <= now)
    return query.order_by(grants.c.release_at).limit(limit).with_for_update(key_share=True, skip_locked=True)


async def mark_returned(connection: AsyncConnection, jti: str, *, now: int) -> None:
    """Note that the reservation went back."""
    await connection.execute(update(grants).where(grants.c.jti == jti).values(returned_at=now))


async def prolong(connection: AsyncConnection, jti: str, *, client: str, added: int, expires_at: int) -> None:
    """Let a reservation last at least until an instant, for whoever signs for it now.

    Args:
        client: peer id that signs its requests and vouchers from now on.
        added: micro-credits by which it has been raised.
        expires_at: Unix seconds.
    """
    later = case((grants.c.expires_at < expires_at, expires_at), else_=grants.c.expires_at)
    values = {
        "client": client,
        "reserved": grants.c.reserved + added,
        "expires_at": later,
        "release_at": later + SETTLEMENT_PERIOD_S,
    }
    await connection.execute(update(grants).where(grants.c.jti == jti).values(**values))


async def release_early(connection: AsyncConnection, jti: str, *, at: int) -> None:
    """Let a reservation go back at an instant, unless it does earlier anyway."""
    earlier = grants.c.jti == jti, grants.c.release_at > at
    await connection.execute(update(grants).where(*earlier).values(release_at=at))


async def reserved_by(connection: AsyncConnection, account_id: str) -> int:
    """Return what the account's grants hold, in micro-credits."""
    query = (
        select(func.sum(transfers.c.microcredits))
        .join(grants, transfers.c.account == "reserved:" + grants.c.jti)
        .where(grants.c.account_id == account_id, grants.c.returned_at.is_(None))
    )
    return int((await connection.execute(query)).scalar_one() or 0)


def _grant(row: Row) -> StoredGrant:  # type: ignore[type-arg]  # -- the columns are the dataclass's fields
    return StoredGrant(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for a row as a mapping
