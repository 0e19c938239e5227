"""The live node index of several replicas: each node's heartbeat reaches one, and all must know its adverts.

Through the database, with Redis or without it: the rows are few and small, and one way is enough. On SQLite there is
one process, which has them all.
"""

import logging
from collections.abc import Callable
from typing import Final

from gpunode_protocol.adverts import Advert
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import parse_peer_id, public_key_of
from gpunode_protocol.signing import open_signed
from gpunode_protocol.tasks import Task

from gpunode_tracker.region_index import MAX_SILENCE_S, RegionIndex
from gpunode_tracker.repeating import every
from gpunode_tracker.storage import live_adverts
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.live_adverts import AdvertLife, KeptAdvert

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
OVERLAP_S: Final = 10
"""Read again at each look: replicas' clocks differ, and a transaction is seen later than it wrote."""
KEPT_S: Final = 60
"""After its expiry an advert is kept so long."""
_FORGET_TURNS: Final = 60


class AdvertExchange:
    """Writes what this replica heard, and reads what others heard.

    Args:
        database: where it goes.
        index: of this process.
        clock: Unix seconds.
    """

    def __init__(self, database: Database, index: RegionIndex, clock: Callable[[], float]) -> None:
        self._database = database
        self._index = index
        self._clock = clock
        self._changed: set[str] = set()
        self._read_until: int | None = None
        self._turns = 0
        index.on_change = self._changed.add

    async def run(self) -> None:
        """Exchange every second, until cancelled. What fails is tried again at the next turn."""
        await every(INTERVAL_S, self.exchange, "adverts_not_exchanged", level=logging.INFO, at_once=True)

    async def exchange(self) -> None:
        """Write, then read.

        Raises:
            StorageUnavailable: what could not be written is written the next time.
        """
        await self._write()
        await self._read()
        self._turns += 1

    async def _write(self) -> None:
        changed = frozenset(self._changed)
        is_time_to_forget, now = self._turns % _FORGET_TURNS == 0, int(self._clock())
        if not changed and not is_time_to_forget:
            return
        listed = [item for peer in changed for item in self._index.listed_of(peer)]
        self._changed.clear()
        try:
            async with self._database.write() as connection:
                await live_adverts.write_adverts(connection, listed, now=now)
                if is_time_to_forget:
                    await live_adverts.forget_adverts(connection, expired_before=now - KEPT_S)
        except BaseException:
            self._changed |= changed
            raise

    async def _read(self) -> None:
        now = int(self._clock())
        since = now - MAX_SILENCE_S - OVERLAP_S if self._read_until is None else self._read_until - OVERLAP_S
        async with self._database.read() as connection:
            lives = await live_adverts.lives_since(connection, since, now=now)
            unknown = {life.peer for life in lives if life.sequence > self._known(life)}
            kept = await live_adverts.adverts_of(connection, unknown)
        for advert in kept:
            self._merge(advert)
        for life in lives:
            self._index.merge_life(
                life.peer, Task(life.task), life.model, life.sequence, heard_at=life.heard_at, live=life.is_live
            )
        self._read_until = now

    def _known(self, life: AdvertLife) -> int:
        return self._index.sequence_of(life.peer, Task(life.task), life.model)

    def _merge(self, kept: KeptAdvert) -> None:
        life = kept.life
        try:
            advert = open_signed(Advert, kept.envelope, public_key_of(parse_peer_id(life.peer)))
        except GpunodeError as error:
            logger.warning(
                "An advert of %s in the database is not valid: %s", life.peer, error, extra={"event": "advert_damaged"}
            )
            return
        self._index.merge(advert, life.heard_at, live=life.is_live)
