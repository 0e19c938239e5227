"""Adverts that replicas tell each other of."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpunode_protocol.signing import Envelope
from sqlalchemy import Executable, and_, case, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.region_index import Listed
from gpunode_tracker.storage.tables import live_adverts
from gpunode_tracker.storage.upserts import upsert

PAGE_ROWS: Final = 200


@dataclass(frozen=True)
class AdvertLife:
    """What is known of an advert without its body. heard_at: Unix seconds."""

    peer: str
    task: str
    model: str
    sequence: int
    heard_at: int
    is_live: bool


@dataclass(frozen=True)
class KeptAdvert:
    """The same with the advert."""

    life: AdvertLife
    envelope: Envelope


async def write_adverts(connection: AsyncConnection, listed: Iterable[Listed], *, now: int) -> None:
    """Keep adverts; what is newer stays, and who left comes back by a newer advert only. now: Unix seconds."""
    # one order everywhere, so that replicas do not lock rows crosswise
    rows = sorted((_row(item, now) for item in listed), key=lambda row: (row["peer"], row["task"], row["model"]))
    for start in range(0, len(rows), PAGE_ROWS):
        await connection.execute(_replacing(connection, rows[start : start + PAGE_ROWS]))


def _row(item: Listed, now: int) -> dict[str, Any]:
    body, envelope = item.advert.body, item.advert.envelope
    return {
        "peer": body.peer,
        "task": str(body.model.task),
        "model": body.model.name,
        "sequence": body.sequence,
        "body": envelope.body,
        "signature": envelope.signature,
        "expires_at": body.expires_at,
        "heard_at": int(item.heard_at),
        "is_live": item.live,
        "changed_at": now,
    }


def _replacing(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> Executable:
    statement = upsert(connection, live_adverts).values(rows)
    new, old = statement.excluded, live_adverts.c
    values: dict[str, Any] = {name: new[name] for name in ("sequence", "body", "signature", "expires_at", "changed_at")}
    values["heard_at"] = case((new.heard_at > old.heard_at, new.heard_at), else_=old.heard_at)
    values["is_live"] = case((new.sequence > old.sequence, new.is_live), else_=and_(old.is_live, new.is_live))
    return statement.on_conflict_do_update(
        index_elements=["peer", "task", "model"], set_=values, where=new.sequence >= old.sequence
    )


async def lives_since(connection: AsyncConnection, changed_since: int, *, now: int) -> list[AdvertLife]:
    """Return what was written since an instant of adverts that have not expired."""
    columns = [live_adverts.c[name] for name in AdvertLife.__dataclass_fields__]
    query = select(*columns).where(live_adverts.c.changed_at >= changed_since, live_adverts.c.expires_at > now)
    return [AdvertLife(*row) for row in await connection.execute(query)]


async def adverts_of(connection: AsyncConnection, peers: Collection[str]) -> list[KeptAdvert]:
    """Return all that is kept of some peers."""
    names, found = sorted(peers), []
    for start in range(0, len(names), PAGE_ROWS):
        query = select(live_adverts).where(live_adverts.c.peer.in_(names[start : start + PAGE_ROWS]))
        for row in await connection.execute(query):
            life = AdvertLife(*(getattr(row, name) for name in AdvertLife.__dataclass_fields__))
            found.append(KeptAdvert(life, Envelope(body=row.body, signature=row.signature)))
    return found


async def forget_adverts(connection: AsyncConnection, *, expired_before: int) -> None:
    """Drop adverts that expired before an instant."""
    await connection.execute(delete(live_adverts).where(live_adverts.c.expires_at < expired_before))
