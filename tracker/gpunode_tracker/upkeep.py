"""What the tracker does by itself: sign heads, return expired reservations, shard the DHT, see what was changed."""

import asyncio
import logging

from gpunode_tracker.audit_retention import forget_old_entries
from gpunode_tracker.entries import Bookkeeper, reserved_name
from gpunode_tracker.jobs.retention import delete_old, fail_stale
from gpunode_tracker.repeating import attempt, every
from gpunode_tracker.resealing import Resealing
from gpunode_tracker.sequencer import NotTheSequencer
from gpunode_tracker.shared.common_clock import LOOK_INTERVAL_S
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.bans import forget_bans
from gpunode_tracker.storage.checkpoints import (
    accounts_between,
    newest_transfer,
    transfers_since_checkpoint,
    write_checkpoint,
)
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import forget_heads
from gpunode_tracker.storage.grants import grants_to_return, mark_returned
from gpunode_tracker.storage.nodes import forget_challenges
from gpunode_tracker.storage.reports import forget_reports
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.lease_watch import LEASE_INTERVAL_S, LeaseWatch
from gpunode_tracker.workers.live_sync import FLUSH_INTERVAL_S, READ_INTERVAL_S
from gpunode_tracker.workers.retention import forget_silent

logger = logging.getLogger(__name__)

HEAD_INTERVAL_S = 1.0
"""The operator's commands write to the ledger too, so it is looked at this often even when nobody called."""
HEAD_DELAY_S = 0.5
"""Entries of this long come under one head."""
REFRESH_INTERVAL_S = 2.0
TIDY_INTERVAL_S = 30.0
RETURN_BATCH_GRANTS = 100
CHECKPOINT_TRANSFERS = 1_000
"""Balances that add up more transfers than this get a checkpoint."""
HEADS_KEPT_S = 24 * 3600
REPORTS_KEPT_S = 90 * 24 * 3600
"""Clients make them, so without an end they would fill the disk."""
REPORTS_AT_ONCE = 500
"""Deleted at each turn."""
_FAILED = "upkeep_failed"  # event in the log


async def return_expired(tracker: Tracker) -> int:
    """Return what is left of reservations whose time is over; return how many grants were closed."""
    closed = 0
    while True:
        now = tracker.now
        async with tracker.database.write() as connection:
            batch = await grants_to_return(connection, now=now, limit=RETURN_BATCH_GRANTS)
            for grant in batch:
                left = await ledger.balance(connection, reserved_name(grant.jti))
                if left > 0:
                    entry = Bookkeeper(tracker.keys.network, now).give_back(grant.account_id, grant.jti, left)
                    await ledger.append(connection, entry)
                await mark_returned(connection, grant.jti, now=now)
        if not batch:
            return closed
        closed += len(batch)
        tracker.wake_sequencer.set()


async def shorten_sums(database: Database, after: int | None) -> int:
    """Write checkpoints for accounts with long sums that transfers after number ``after`` touched; None = none yet.

    Returns:
        The number of the newest transfer seen, for the next call.
    """
    async with database.read() as connection:
        until = await newest_transfer(connection)
        if after is None:
            return until  # what nobody touches needs no shorter sum
        touched = await accounts_between(connection, after, until)
        counts = [(account, await transfers_since_checkpoint(connection, account)) for account in touched]
    long = [account for account, count in counts if count > CHECKPOINT_TRANSFERS]
    if long:
        async with database.write() as connection:
            for account in long:
                await write_checkpoint(connection, account)
    return until


async def drop_expired(tracker: Tracker) -> None:
    """Forget used challenges, adverts, tree heads, bans and reports whose time is over."""
    tracker.index.prune(tracker.clock())
    async with tracker.database.write() as connection:
        await forget_challenges(connection, now=tracker.now)
        await forget_heads(connection, issued_before=tracker.now - HEADS_KEPT_S)
        await forget_bans(connection, now=tracker.now)
        await forget_reports(connection, before=tracker.now - REPORTS_KEPT_S, limit=REPORTS_AT_ONCE)


class Upkeep:
    """Runs the tasks until it is stopped. A failure is logged and tried again at the next turn."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._tasks: list[asyncio.Task[None]] = []
        self._last_transfer: int | None = None
        self._leases = LeaseWatch(tracker)
        self._resealing = Resealing(tracker.database, tracker.sealer, tracker.monotonic)

    def start(self) -> None:
        """Start the tasks."""
        tracker = self._tracker
        workers = tracker.workers
        self._tasks = [
            asyncio.create_task(self._sequence()),
            asyncio.create_task(every(REFRESH_INTERVAL_S, tracker.refresh, _FAILED)),
            asyncio.create_task(every(REFRESH_INTERVAL_S, tracker.key_watch.look, _FAILED)),
            asyncio.create_task(every(TIDY_INTERVAL_S, self._tidy, _FAILED)),
            asyncio.create_task(every(REFRESH_INTERVAL_S, self._resealing.look, _FAILED)),
            asyncio.create_task(every(LEASE_INTERVAL_S, self._leases.look, _FAILED)),
            asyncio.create_task(every(FLUSH_INTERVAL_S, workers.sync.flush, _FAILED)),
            # at once, too: who lived before a restart lives after it, and its token needs no look-up
            asyncio.create_task(every(READ_INTERVAL_S, workers.sync.read, _FAILED, at_once=True)),
            asyncio.create_task(workers.waiting.run()),
        ]
        clock = tracker.common_clock
        if clock.is_followed:
            looking = every(LOOK_INTERVAL_S, lambda: clock.look(tracker), "clock_not_compared")
            self._tasks.append(asyncio.create_task(looking))

    async def stop(self) -> None:
        """Stop the tasks, then number what was written last."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await attempt(self._tracker.workers.sync.flush, _FAILED)
        await attempt(self._sign_head, _FAILED)

    async def _sequence(self) -> None:
        wake = self._tracker.wake_sequencer
        while True:
            try:
                async with asyncio.timeout(HEAD_INTERVAL_S):
                    await wake.wait()
                await asyncio.sleep(HEAD_DELAY_S)
            except TimeoutError:
                pass
            wake.clear()
            await attempt(self._sign_head, _FAILED)

    async def _tidy(self) -> None:
        await return_expired(self._tracker)
        await drop_expired(self._tracker)
        await fail_stale(self._tracker)
        await delete_old(self._tracker)
        await forget_silent(self._tracker)
        await forget_old_entries(self._tracker)
        self._tracker.judge_places()
        await self._tracker.reshard()
        self._last_transfer = await shorten_sums(self._tracker.database, self._last_transfer)

    async def _sign_head(self) -> None:
        try:
            await self._tracker.sequence()
        except NotTheSequencer as error:
            logger.info("%s", error, extra={"event": "not_the_sequencer"})
