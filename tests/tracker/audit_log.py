"""Short ways to read the audit log in tests."""

from typing import Any

from gpunode_protocol.validation import MAX_INT64
from gpunode_tracker.audit import AuditRecord
from gpunode_tracker.storage.audit import AuditFilter, newest_records
from gpunode_tracker.storage.database import Database


async def entries(database: Database, **wanted: Any) -> list[AuditRecord]:
    """Return the entries that ``AuditFilter`` names, oldest first."""
    async with database.read() as connection:
        found = await newest_records(connection, AuditFilter(**wanted), before_id=MAX_INT64, limit=1_000)
    return found[::-1]


async def acts(database: Database) -> list[tuple[str, str, str]]:
    """Return actor, action and subject of all entries, oldest first."""
    return [(entry.actor, entry.action, entry.subject) for entry in await entries(database)]
