"""What the tracker signed: key sets, revocation lists, tree heads; and single values."""

from enum import StrEnum

from gpunode_protocol.signing import Envelope
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import meta, signed_documents
from gpunode_tracker.storage.upserts import insert_if_new, insert_or_update


class DocumentKind(StrEnum):
    """Kinds of signed documents, each with its own sequence."""

    KEYSET = "keyset"
    REVOCATIONS = "revocations"
    TREE_HEAD = "tree-head"


async def newest(connection: AsyncConnection, kind: DocumentKind) -> Envelope | None:
    """Return the newest document of a kind."""
    row = (
        await connection.execute(
            select(signed_documents.c.body, signed_documents.c.signature)
            .where(signed_documents.c.kind == kind)
            .order_by(signed_documents.c.sequence.desc())
            .limit(1)
        )
    ).first()
    return Envelope(body=row.body, signature=row.signature) if row else None


async def add(
    connection: AsyncConnection, kind: DocumentKind, sequence: int, envelope: Envelope, issued_at: int
) -> None:
    """Keep a document; ``sequence`` must be new."""
    values = {"body": envelope.body, "signature": envelope.signature, "issued_at": issued_at}
    await connection.execute(insert(signed_documents).values(kind=kind, sequence=sequence, **values))


async def forget_heads(connection: AsyncConnection, *, issued_before: int) -> None:
    """Drop signed tree heads that are that old, except the newest: any root can be computed from the leaves."""
    of_kind = signed_documents.c.kind == DocumentKind.TREE_HEAD
    newest_head = select(func.max(signed_documents.c.sequence)).where(of_kind).scalar_subquery()
    old = (signed_documents.c.issued_at < issued_before, signed_documents.c.sequence < newest_head)
    await connection.execute(delete(signed_documents).where(of_kind, *old))


async def constant(connection: AsyncConnection, key: str, default: bytes) -> bytes:
    """Return a value that never changes once it was set; ``default`` sets it. Needs a writing transaction."""
    found = await find_constant(connection, key)
    if found is None and await insert_if_new(connection, meta, {"key": key, "value": default}):
        return default
    return found if found is not None else await constant(connection, key, default)


async def replace_value(connection: AsyncConnection, key: str, value: bytes) -> None:
    """Set a value that may change."""
    await insert_or_update(connection, meta, {"key": key, "value": value})


async def find_constant(connection: AsyncConnection, key: str) -> bytes | None:
    """Return a value, None if it was not set yet."""
    value: bytes | None = (await connection.execute(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()
    return value
