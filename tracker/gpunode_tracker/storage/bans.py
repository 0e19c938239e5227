"""Bans, as the operator wrote them."""

from typing import Any

from sqlalchemy import Select, delete, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.storage.tables import bans
from gpunode_tracker.storage.upserts import insert_or_update


async def save_ban(connection: AsyncConnection, ban: Ban) -> None:
    """Keep a ban; an earlier one of the same subject is replaced."""
    await insert_or_update(connection, bans, vars(ban))


async def lift_ban(connection: AsyncConnection, kind: BanKind, subject: str) -> bool:
    """Forget a ban; return whether there was one."""
    return (await connection.execute(delete(bans).where(*_is(kind, subject)))).rowcount > 0


async def find_ban(connection: AsyncConnection, kind: BanKind, subject: str) -> Ban | None:
    """Return the ban of exactly this subject; its time may be over."""
    row = (await connection.execute(select(bans).where(*_is(kind, subject)))).first()
    return _ban(row) if row else None


async def all_bans(connection: AsyncConnection, *, now: int) -> list[Ban]:
    """Return the bans in force, by kind and subject."""
    return [_ban(row) for row in await connection.execute(_in_force(now))]


async def bans_after(connection: AsyncConnection, kind: str, subject: str, *, now: int, limit: int) -> list[Ban]:
    """Return bans in force, by kind and subject, those after one; empty texts: from the first on."""
    after = tuple_(bans.c.kind, bans.c.subject) > (kind, subject)
    return [_ban(row) for row in await connection.execute(_in_force(now).where(after).limit(limit))]


async def count_bans(connection: AsyncConnection, *, now: int) -> int:
    """Return how many bans are in force."""
    return int((await connection.execute(select(func.count()).select_from(_in_force(now).subquery()))).scalar_one())


async def forget_bans(connection: AsyncConnection, *, now: int) -> None:
    """Drop bans whose time is over."""
    await connection.execute(delete(bans).where(bans.c.until <= now))


def _in_force(now: int) -> Select[Any]:
    query = select(bans).where(or_(bans.c.until.is_(None), bans.c.until > now))
    return query.order_by(bans.c.kind, bans.c.subject)


def _is(kind: BanKind, subject: str) -> tuple[Any, Any]:
    return bans.c.kind == kind, bans.c.subject == subject


def _ban(row: Any) -> Ban:
    return Ban(BanKind(row.kind), row.subject, row.reason, row.created_at, row.until)
