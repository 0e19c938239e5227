"""What becomes of pull workers that are heard no more: anybody may register some, so they would fill the disk."""

from typing import TYPE_CHECKING, Final

from gpunode_tracker.storage.workers import forget_workers

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

SILENT_DAYS_S: Final = 30 * 24 * 3600
"""A policy: whoever comes back after a longer holiday registers again."""
BATCH_WORKERS: Final = 10
"""Of one turn: for each, the database looks through the jobs for references to it."""


async def forget_silent(tracker: "Tracker") -> int:
    """Forget some workers without a key that were silent for a month and left no job behind; return how many.

    Those with a key stay: they are few for each proof of a key, and what is known of their work is theirs.
    """
    async with tracker.database.write() as connection:
        return await forget_workers(connection, heard_before=tracker.now - SILENT_DAYS_S, limit=BATCH_WORKERS)
