"""The audit log does not grow for ever: anybody may register a worker, and each is an entry."""

import logging
from typing import TYPE_CHECKING, Final

from gpunode_tracker.storage.audit import forget_records

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

BATCH_ENTRIES: Final = 500
"""Of one transaction: others may write in between."""


async def forget_old_entries(tracker: "Tracker") -> int:
    """Delete entries of the audit log that are older than the settings say; return how many."""
    forgotten, batch = 0, BATCH_ENTRIES
    while batch == BATCH_ENTRIES:
        async with tracker.database.write() as connection:
            before = tracker.now - tracker.settings.audit_retention_s
            batch = await forget_records(connection, before=before, limit=BATCH_ENTRIES)
        forgotten += batch
    if forgotten:
        logger.info("%d old entries of the audit log were deleted", forgotten, extra={"event": "audit_deleted"})
    return forgotten
