"""What a restore from a backup leaves behind: entries that say so, and sequences that must not be used again."""

import json
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.documents import DocumentKind, find_constant, replace_value
from gpunode_tracker.storage.ledger import StoredEntry, entry_at
from gpunode_tracker.storage.tables import signed_documents

_ROWS: Final = "restorations"
_FLOOR: Final = "sequence_floor/"


async def note_restoration(connection: AsyncConnection, row: int) -> None:
    """Remember the row of the ledger entry by which the log goes on."""
    rows = await _rows(connection)
    await replace_value(connection, _ROWS, json.dumps([*rows, row]).encode())


async def restorations(connection: AsyncConnection) -> list[StoredEntry]:
    """Return the entries of all restores, oldest first."""
    return [await entry_at(connection, row) for row in await _rows(connection)]


async def raise_floors(connection: AsyncConnection, *, now: int) -> None:
    """Let the next key set and revocation list have a sequence that no lost one can have had.

    Nodes and clients keep the list with the larger sequence. At most one of a kind was made in each second since the
    last one that the backup has.
    """
    for kind in (DocumentKind.KEYSET, DocumentKind.REVOCATIONS):
        columns = func.max(signed_documents.c.sequence), func.max(signed_documents.c.issued_at)
        row = (await connection.execute(select(*columns).where(signed_documents.c.kind == kind))).one()
        if row[0] is not None:
            floor = row[0] + max(0, now - row[1]) + 1
            await replace_value(connection, _FLOOR + kind, str(floor).encode())


async def next_sequence(connection: AsyncConnection, kind: DocumentKind, last: int) -> int:
    """Return the sequence of the document after number ``last``, 0 = there is none yet."""
    floor = await find_constant(connection, _FLOOR + kind)
    return max(last + 1, int(floor or 0))


async def _rows(connection: AsyncConnection) -> list[int]:
    rows: list[int] = json.loads(await find_constant(connection, _ROWS) or b"[]")
    return rows
