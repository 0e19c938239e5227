"""After a rotation: what was sealed with older keys is sealed anew, in small batches, while everything else goes on."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.sealed_values import (
    SEALED_COLUMNS,
    SealedColumn,
    SealedValue,
    replace_sealed,
    values_sealed_with,
)

logger = logging.getLogger(__name__)

BATCH_VALUES: Final = 50
AGAIN_S: Final = 600.0
"""While old keys are in the file, all values are looked at again this often: another tracker may have been late."""


class Resealing:
    """Seals old values anew.

    Args:
        database: where they are.
        sealer: the one in use; it seals with its first key.
        monotonic: seconds.
    """

    def __init__(self, database: Database, sealer: Sealer, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._sealer = sealer
        self._monotonic = monotonic
        self._done_for: bytes | None = None
        self._done_at = 0.0

    async def look(self) -> int:
        """Seal all old values anew if there may be some; return how many there were.

        Raises:
            StorageUnavailable: the rest is left for the next time.
        """
        sealer, now = self._sealer, self._monotonic()
        newest = sealer.keys[0].id
        if not sealer.has_old_keys or (self._done_for == newest and now - self._done_at < AGAIN_S):
            return 0
        count = 0
        for place in SEALED_COLUMNS:
            count += await self._reseal_column(place, sealer)
        self._done_for, self._done_at = newest, now
        if count:
            logger.info("%d values are sealed with key %s now", count, newest.hex(), extra={"event": "resealed"})
        return count

    async def _reseal_column(self, place: SealedColumn, sealer: Sealer) -> int:
        old_ids = [key.id for key in sealer.keys[1:]]
        count, after = 0, ""
        while True:
            async with self._database.read() as connection:
                batch = await values_sealed_with(connection, place, old_ids, after=after, limit=BATCH_VALUES)
            if not batch:
                return count
            fresh = await asyncio.to_thread(_resealed, batch, place, sealer)
            async with self._database.write() as connection:
                for old, new in fresh:
                    count += await replace_sealed(connection, place, old, new)
            after = batch[-1].row_id


def _resealed(batch: list[SealedValue], place: SealedColumn, sealer: Sealer) -> list[tuple[SealedValue, bytes]]:
    """Return the values sealed anew, without those that do not open: they are as lost as before, and are left."""
    fresh = []
    for old in batch:
        context = place.context(old.row_id)
        try:
            fresh.append((old, sealer.seal(sealer.open(old.value, context), context)))
        except KeysUnusable as error:
            logger.warning("%s", error, extra={"event": "not_resealed"})
    return fresh
