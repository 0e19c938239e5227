"""Pull workers in the database: who registered, their tokens' hashes, and what the tracker knows of their work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, cast, delete, exists, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.job import WORKER_HOLDER
from gpunode_tracker.storage.tables import bans, job_attempts, jobs, nodes, workers
from gpunode_tracker.workers.signs import SignOfLife
from gpunode_tracker.workers.statistics import Statistics
from gpunode_tracker.workers.tokens import TokenHashes
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus

WORKER_BAN: Final = "worker"
NODE_BAN: Final = "node"
"""Kinds of bans that shut a worker out: of itself, and of its key."""

_NOT_OF_A_WORKER: Final = frozenset({"auth_token_hash", "old_token_hash", "old_token_until"})
_COLUMNS: Final = tuple(column for column in workers.c if column.name not in _NOT_OF_A_WORKER)
_STATISTICS: Final = ("avg_latency_ms", "success_rate", "total_jobs")
_VITALS: Final = (
    workers.c.id,
    workers.c.last_heartbeat,
    workers.c.maintenance,
    *(workers.c[name] for name in _STATISTICS),
    workers.c.auth_token_hash,
    workers.c.old_token_hash,
    workers.c.old_token_until,
)
_READ_APART: Final = frozenset({"status", "supported_types", "models", *_STATISTICS})
_PLAIN: Final = tuple(column.name for column in _COLUMNS if column.name not in _READ_APART)


@dataclass(frozen=True)
class KnownWorker:
    """A worker with what its tokens are checked by. ban: why it was shut out, None if it was not."""

    worker: StoredWorker
    tokens: TokenHashes
    ban: str | None = None


async def add_worker(connection: AsyncConnection, worker: StoredWorker, token_hash: bytes) -> None:
    """Keep a new worker."""
    await connection.execute(insert(workers).values(**_values(worker), auth_token_hash=token_hash))


async def replace_worker(connection: AsyncConnection, worker: StoredWorker, token_hash: bytes) -> None:
    """Write a registration over an earlier one of the same key: its older tokens end, its statistics stay."""
    values = {name: value for name, value in _values(worker).items() if name not in (*_STATISTICS, "id")}
    values |= {"auth_token_hash": token_hash, "old_token_hash": None, "old_token_until": None}
    await connection.execute(update(workers).where(workers.c.id == worker.id).values(**values))


async def find_worker(connection: AsyncConnection, worker_id: str, *, lock: bool = False) -> StoredWorker | None:
    """Return a worker that registered at some time; ``lock`` keeps others from changing it meanwhile."""
    query = select(*_COLUMNS).where(workers.c.id == worker_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return _worker(row) if row else None


async def worker_of_peer(connection: AsyncConnection, peer: str) -> StoredWorker | None:
    """Return the worker of a key: the one that did not leave, else the newest."""
    query = select(*_COLUMNS).where(workers.c.peer == peer)
    order = workers.c.deregistered_at.is_not(None), workers.c.registered_at.desc()
    row = (await connection.execute(query.order_by(*order).limit(1))).first()
    return _worker(row) if row else None


async def worker_of_token(connection: AsyncConnection, token_hash: bytes, *, now: int) -> KnownWorker | None:
    """Return the worker that a token belongs to, None if it is not valid (any more)."""
    belongs = or_(workers.c.auth_token_hash == token_hash, workers.c.old_token_hash == token_hash)
    for row in (await connection.execute(_with_ban(now, workers).where(belongs))).all():
        known = _known(row)
        if known.tokens.admits(token_hash, now):
            return known
    return None


@dataclass(frozen=True, slots=True)
class Vitals:
    """What others may have changed of a worker. last_heartbeat: Unix seconds. ban: as in ``KnownWorker``."""

    id: str
    last_heartbeat: int
    maintenance: bool
    statistics: Statistics
    tokens: TokenHashes
    ban: str | None


async def vitals_since(connection: AsyncConnection, since: int, *, now: int, after_id: str, limit: int) -> list[Vitals]:
    """Return the vitals of workers that lived lately, by id; continue after the last one's id."""
    heard = and_(workers.c.last_heartbeat >= since, workers.c.deregistered_at.is_(None), workers.c.id > after_id)
    query = _with_ban(now, *_VITALS).where(heard).order_by(workers.c.id).limit(limit)
    return [
        Vitals(
            worker_id,
            heard_at,
            maintenance,
            Statistics(avg_latency_ms=latency_ms, success_rate=rate, total_jobs=count),
            TokenHashes(current, old, old_until),
            _ban(ban, revoked_at),
        )
        for (
            worker_id,
            heard_at,
            maintenance,
            latency_ms,
            rate,
            count,
            current,
            old,
            old_until,
            ban,
            revoked_at,
        ) in await connection.execute(query)
    ]


async def find_workers(connection: AsyncConnection, ids: Sequence[str]) -> list[StoredWorker]:
    """Return some workers."""
    return [_worker(row) for row in await connection.execute(select(*_COLUMNS).where(workers.c.id.in_(ids)))]


async def workers_page(
    connection: AsyncConnection,
    *,
    region: str | None = None,
    status: str | None = None,
    task: str | None = None,
    after_id: str | None = None,
    limit: int,
) -> list[StoredWorker]:
    """Return workers that did not leave, by id, after ``after_id``. status: as it was written last."""
    query = select(*_COLUMNS).where(workers.c.deregistered_at.is_(None))
    if region is not None:
        query = query.where(workers.c.region == region)
    if status is not None:
        query = query.where(workers.c.status == status)
    if task is not None:  # a list in a column: databases differ in looking into it, but not in its text
        query = query.where(cast(workers.c.supported_types, Text).contains(f'"{task}"', autoescape=True))
    if after_id is not None:
        query = query.where(workers.c.id > after_id)
    return [_worker(row) for row in await connection.execute(query.order_by(workers.c.id).limit(limit))]


async def rotate_token(connection: AsyncConnection, worker_id: str, hashes: TokenHashes) -> bool:
    """Write a worker's new token beside the one that it had; return False if it has another one by now."""
    values = {
        "auth_token_hash": hashes.current,
        "old_token_hash": hashes.old,
        "old_token_until": hashes.old_until,
    }
    is_newest = workers.c.id == worker_id, workers.c.auth_token_hash == hashes.old
    return (await connection.execute(update(workers).where(*is_newest).values(**values))).rowcount > 0


async def set_maintenance(connection: AsyncConnection, worker_id: str, *, enabled: bool) -> None:
    """Let a worker get no more jobs, or get them again."""
    await connection.execute(update(workers).where(workers.c.id == worker_id).values(maintenance=enabled))


async def deregister(connection: AsyncConnection, worker_id: str, *, now: int) -> None:
    """Let a worker leave: its tokens end; its row stays, because jobs name it."""
    values = {
        "auth_token_hash": None,
        "old_token_hash": None,
        "old_token_until": None,
        "deregistered_at": now,
        "status": WorkerStatus.OFFLINE,
    }
    await connection.execute(update(workers).where(workers.c.id == worker_id).values(**values))


async def forget_workers(connection: AsyncConnection, *, heard_before: int, limit: int) -> int:
    """Forget some workers without a key that were not heard since an instant, and of which no job is left."""
    never = workers.c.last_heartbeat.is_(None), workers.c.registered_at < heard_before
    is_silent = workers.c.peer.is_(None), or_(workers.c.last_heartbeat < heard_before, and_(*never))
    had_jobs = exists().where(job_attempts.c.holder == WORKER_HOLDER + workers.c.id)  # as long as these are kept
    silent = select(workers.c.id).where(*is_silent, ~had_jobs).limit(limit)
    return (await connection.execute(delete(workers).where(workers.c.id.in_(silent)))).rowcount


async def is_owners(connection: AsyncConnection, peer: str | None, job_id: str) -> bool:
    """Return whether a worker, by its key, and a job are of one account: such jobs count in no statistic."""
    if peer is None:
        return False
    query = select(jobs.c.id).join(nodes, nodes.c.account_id == jobs.c.account_id)
    return (await connection.execute(query.where(jobs.c.id == job_id, nodes.c.peer == peer))).first() is not None


async def save_statistics(connection: AsyncConnection, worker_id: str, statistics: Statistics) -> None:
    """Write what is known of a worker's work; read it with ``find_worker(…, lock=True)`` in the same transaction."""
    await connection.execute(update(workers).where(workers.c.id == worker_id).values(**vars(statistics)))


_WRITE_SIGN: Final = (
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values({name: bindparam(name) for name in SignOfLife.__dataclass_fields__ if name != "id"})
)


async def write_signs_of_life(connection: AsyncConnection, signs: Iterable[SignOfLife]) -> None:
    """Write the live state of many workers at once."""
    rows = [
        {name: value for name, value in vars(sign).items() if name != "id"}
        | {"worker": sign.id, "supported_types": list(sign.supported_types), "models": list(sign.models)}
        for sign in signs
    ]
    if rows:
        await connection.execute(_WRITE_SIGN, rows)


async def mark_silent(connection: AsyncConnection, *, heard_before: int, heard_after: int) -> None:
    """Write of workers that were heard last between two instants that they are off; of those that just left, say."""
    silent = workers.c.last_heartbeat < heard_before, workers.c.last_heartbeat >= heard_after
    is_shown = workers.c.status != WorkerStatus.OFFLINE
    await connection.execute(update(workers).where(*silent, is_shown).values(status=WorkerStatus.OFFLINE))


async def ban_of(connection: AsyncConnection, worker_id: str | None, peer: str | None, *, now: int) -> str | None:
    """Return why a worker or its key was shut out, None if it was not."""
    query = select(bans.c.reason).where(_is_banned(worker_id, peer, now)).limit(1)
    return (await connection.execute(query)).scalar_one_or_none()


def _with_ban(now: int, *columns: Any) -> Select[Any]:
    ban = select(bans.c.reason).where(_is_banned(workers.c.id, workers.c.peer, now)).limit(1)
    all_columns = *columns, ban.correlate(workers).scalar_subquery().label("ban"), nodes.c.revoked_at
    return select(*all_columns).outerjoin(nodes, nodes.c.peer == workers.c.peer)


def _ban(reason: str | None, revoked_at: int | None) -> str | None:
    return "the tracker's operator revoked its key" if reason is None and revoked_at is not None else reason


def _is_banned(worker_id: Any, peer: Any, now: int) -> ColumnElement[bool]:
    of_it = and_(bans.c.kind == WORKER_BAN, bans.c.subject == worker_id)
    of_its_key = and_(bans.c.kind == NODE_BAN, bans.c.subject == peer)
    return and_(or_(of_it, of_its_key), or_(bans.c.until.is_(None), bans.c.until > now))


def _known(row: Row[Any]) -> KnownWorker:
    tokens = TokenHashes(row.auth_token_hash, row.old_token_hash, row.old_token_until)
    return KnownWorker(_worker(row), tokens, _ban(row.ban, row.revoked_at))


def _worker(row: Row[Any]) -> StoredWorker:
    columns = row._mapping  # noqa: SLF001 -- SQLAlchemy's public name for a row as a mapping
    fields = {name: columns[name] for name in _PLAIN}
    return StoredWorker(
        **fields,
        status=WorkerStatus(row.status),
        supported_types=tuple(row.supported_types),
        models=tuple(row.models),
        statistics=Statistics(**{name: columns[name] for name in _STATISTICS}),
    )


def _values(worker: StoredWorker) -> dict[str, Any]:
    values = vars(worker) | vars(worker.statistics)
    del values["statistics"]
    return values | {"supported_types": list(worker.supported_types), "models": list(worker.models)}
