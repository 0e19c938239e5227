"""Carries what is known of live workers to the database, and what other replicas know from there.

The ``PresenceStore`` that is always there; who may work, who holds what, and whose token is whose comes from it alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gpunode_tracker.clock_jumps import ClockJumps
from gpunode_tracker.jobs.job import WORKER_HOLDER, worker_holder
from gpunode_tracker.storage import workers
from gpunode_tracker.storage.attempts import held_by_all
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.workers import Vitals
from gpunode_tracker.workers.presence import SILENT_S, TOLD_WRITE_INTERVAL_S, Presence
from gpunode_tracker.workers.tokens import TokenCache
from gpunode_tracker.workers.worker import StoredWorker

FLUSH_INTERVAL_S: Final = 5.0
READ_INTERVAL_S: Final = 20.0
"""Thrice before a rotated token's 60 s are over, and before a lease that another replica gave goes."""
PAGE_WORKERS: Final = 500
"""Read at once: about 10 ms in which nothing else is served."""
_HEARD_S: Final = int(SILENT_S + TOLD_WRITE_INTERVAL_S + FLUSH_INTERVAL_S)
"""The database's last word of a worker that lives is at most as old."""
_LEFT_LATELY_S: Final = 3600


class LiveSync:
    """Writes and reads the live state of workers.

    Args:
        database: where it goes.
        presence, tokens: of this process.
    """

    def __init__(self, database: Database, presence: Presence, tokens: TokenCache) -> None:
        self._database = database
        self._presence = presence
        self._tokens = tokens
        self._jumps = ClockJumps(presence.clock, presence.monotonic)
        self._has_read = False

    async def flush(self) -> int:
        """Write who was heard or changed since the last time; return how many.

        Raises:
            StorageUnavailable: nothing was written; it is tried again with the next call.
        """
        changes = self._presence.take_changes()
        if changes:
            try:
                async with self._database.write() as connection:
                    await workers.write_signs_of_life(
                        connection, [self._presence.sign_of(worker) for worker in changes]
                    )
            except BaseException:
                self._presence.put_back(changes)
                raise
        self._tokens.forget_all(self._presence.drop_silent())
        return len(changes)

    async def read(self) -> None:
        """Learn what was changed elsewhere: who lives, who was shut out, whose tokens were rotated, who holds what.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        if self._jumps.seen():
            self._presence.rewrite()
        await self.flush()
        read_at, known = self._presence.monotonic(), {worker.id for worker in self._presence}
        async with self._database.read() as connection:
            held = await held_by_all(connection, WORKER_HOLDER)
        after_id, now = "", int(self._presence.clock())
        while True:
            async with self._database.read() as connection:
                page = await workers.vitals_since(
                    connection, now - _HEARD_S, now=now, after_id=after_id, limit=PAGE_WORKERS
                )
                news = [each.id for each in page if self._presence.knows_less(each.id, each.last_heartbeat)]
                unknown = {each.id: each for each in await workers.find_workers(connection, news)} if news else {}
            for each in page:
                self._take(each, unknown.get(each.id), held.get(worker_holder(each.id), {}), read_at)
                known.discard(each.id)
            if len(page) < PAGE_WORKERS:
                break
            after_id = page[-1].id
        for worker_id in known:  # they left elsewhere; if not, their next request asks the database
            self._forget_unless_heard(worker_id, read_at)
        await self._mark_silent(now)

    def _take(self, vitals: Vitals, row: StoredWorker | None, held: Mapping[str, int], read_at: float) -> None:
        """Note what was read of a worker; ``row``: all of it, if more is to be learnt than its vitals."""
        live = self._presence.find(vitals.id)
        if row is None and live is not None:
            row = live.stored
            if (row.maintenance, row.statistics) != (vitals.maintenance, vitals.statistics):
                row = replace(row, maintenance=vitals.maintenance, statistics=vitals.statistics)
        if row is not None:
            self._presence.meet(row, held, ban=vitals.ban, read_at=read_at)
            self._tokens.put(vitals.id, vitals.tokens)

    def _forget_unless_heard(self, worker_id: str, read_at: float) -> None:
        worker = self._presence.find(worker_id)
        if worker is not None and worker.heard_at < read_at:
            self._presence.forget(worker_id)
            self._tokens.forget(worker_id)

    async def _mark_silent(self, now: int) -> None:
        """Write that workers are off which another process left behind, or this one before it was started."""
        heard_after = now - _HEARD_S - _LEFT_LATELY_S if self._has_read else 0
        async with self._database.write() as connection:
            await workers.mark_silent(connection, heard_before=now - _HEARD_S, heard_after=heard_after)
        self._has_read = True
