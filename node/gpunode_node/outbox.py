"""Vouchers and receipts on their way to the tracker, on disk until it has answered for them.

A row is *held* while its job runs: a newer voucher of the same segment replaces it. It becomes *ready* with the final
voucher, or a grace after the job's end. Rows that a killed process held are ready at the next start.
"""

import asyncio
import contextlib
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Envelope, Signed
from gpunode_protocol.tracker_api import SettlementItem, SettlementResult
from gpunode_protocol.vouchers import Voucher

from gpunode_node.admission import JobKey
from gpunode_node.bell import Bell
from gpunode_node.sqlite_thread import SqliteThread

logger = logging.getLogger(__name__)

RETRY_S = 2.0
"""Pause between attempts to write to a full disk."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- new at every change: an answer never removes a newer voucher
    client TEXT NOT NULL,
    job TEXT NOT NULL,
    segment INTEGER NOT NULL,
    jti TEXT NOT NULL,                 -- a job may come again under another grant while this row waits
    voucher_body BLOB NOT NULL,
    voucher_signature BLOB NOT NULL,
    receipt_body BLOB,                 -- with the final voucher only
    receipt_signature BLOB,
    state TEXT NOT NULL,               -- 'held' -> 'ready' -> deleted when the tracker has answered
    UNIQUE (client, job, segment, jti)
);
CREATE INDEX IF NOT EXISTS outbox_by_state ON outbox (state, number);
CREATE TABLE IF NOT EXISTS totals (
    status TEXT PRIMARY KEY,           -- the tracker's answer: settled, duplicate, rejected, equivocation
    items INTEGER NOT NULL,
    paid_microcredits INTEGER NOT NULL
) WITHOUT ROWID;
"""
_PUT = """
INSERT OR REPLACE INTO outbox
    (client, job, segment, jti, voucher_body, voucher_signature, receipt_body, receipt_signature, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RELEASE = "UPDATE outbox SET state = 'ready' WHERE client = ? AND job = ? AND segment = ?"
_RELEASE_ALL = "UPDATE outbox SET state = 'ready'"
_READY = """
SELECT number, voucher_body, voucher_signature, receipt_body, receipt_signature
FROM outbox WHERE state = 'ready' ORDER BY number LIMIT ?
"""
_COUNT = "SELECT state, count(*) FROM outbox GROUP BY state"
_DELETE = "DELETE FROM outbox WHERE number = ?"
_ADD_TOTAL = """
INSERT INTO totals (status, items, paid_microcredits) VALUES (?, 1, ?)
ON CONFLICT (status) DO UPDATE
SET items = items + 1, paid_microcredits = paid_microcredits + excluded.paid_microcredits
"""
_TOTALS = "SELECT status, items, paid_microcredits FROM totals"


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One row that is ready; ``number`` names it when the tracker has answered."""

    number: int
    item: SettlementItem


@dataclass(frozen=True, slots=True)
class Totals:
    """What the tracker answered so far for items of one status."""

    items: int
    paid_microcredits: int


@dataclass(frozen=True, slots=True)
class _Put:
    """A voucher to be written."""

    voucher: Signed[Voucher]
    receipt: Signed[Receipt] | None


class Outbox:
    """The durable queue.

    ``put`` returns at once; a task of its own writes, all that came meanwhile in one transaction, so that no stream
    waits for the disk. What the disk does not take stays in memory and is written when there is room again.
    """

    def __init__(self, path: Path) -> None:
        self._thread = SqliteThread(path, _SCHEMA, "FULL")
        self._unwritten: dict[JobKey, _Put] = {}
        self._released: set[JobKey] = set()
        self._bell = Bell()
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._problem = ""

    async def open(self) -> None:
        """Open the file; what an earlier process held is ready.

        Raises:
            StateUnwritable: the file cannot be opened.
        """
        await self._thread.open()
        with contextlib.suppress(sqlite3.Error):  # a full disk: released at the next start
            await self._thread.run(lambda connection: connection.execute(_RELEASE_ALL))
        self._writer = asyncio.create_task(self._write())

    @property
    def problem(self) -> str:
        """Why new jobs cannot be taken (the disk is full), empty when they can."""
        return self._problem

    def put(self, key: JobKey, voucher: Signed[Voucher], receipt: Signed[Receipt] | None = None) -> None:
        """Keep the newest voucher of a segment; with the final one its receipt, and then it is ready."""
        self._unwritten[key] = _Put(voucher, receipt)
        self._bell.ring()

    def release(self, key: JobKey) -> None:
        """Make a held voucher ready: its job is over and no final voucher came."""
        self._released.add(key)
        self._bell.ring()

    async def write_pending(self) -> bool:
        """Write what the disk has not taken yet; return whether all of it is on disk now."""
        async with self._writing:
            changes, released = dict(self._unwritten), self._released
            if not changes and not released:
                return True
            self._released = set()  # what is released while these are written belongs to the next turn

            def work(connection: sqlite3.Connection) -> None:
                connection.executemany(_PUT, [_row(key, change) for key, change in changes.items()])
                connection.executemany(_RELEASE, [(key.client, key.job, key.segment) for key in released])

            try:
                await self._thread.run(work)
            except BaseException as error:
                self._released |= released
                if not isinstance(error, sqlite3.Error | OSError):
                    raise  # cancelled: what was not noted as written is written again
                self._note_problem(f"The node's disk does not take vouchers ({error}), so it takes no new jobs.")
                return False
            self._note_problem("")
            for key, change in changes.items():
                if self._unwritten.get(key) is change:
                    del self._unwritten[key]
            return True

    async def ready(self, limit: int) -> list[OutboxItem]:
        """Return what the tracker should get, oldest first."""
        rows = await self._thread.run(lambda connection: connection.execute(_READY, (limit,)).fetchall())
        return [OutboxItem(number, _item(*columns)) for number, *columns in rows]

    async def settle(self, answers: list[tuple[int, SettlementResult]]) -> None:
        """Drop what the tracker has answered for, by number; what it wants again (``retry``) stays.

        Raises:
            sqlite3.Error: the disk is full; the items will be sent again, which the tracker answers as duplicates.
        """
        final = [(number, result) for number, result in answers if result.status != "retry"]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_DELETE, [(number,) for number, _ in final])
            connection.executemany(_ADD_TOTAL, [(result.status, result.paid_microcredits) for _, result in final])

        await self._thread.run(work)

    async def counts(self) -> dict[str, int]:
        """Return how many items are ``held``, ``ready`` and ``unwritten``."""
        rows = await self._thread.run(lambda connection: connection.execute(_COUNT).fetchall())
        return {"held": 0, "ready": 0} | dict(rows) | {"unwritten": len(self._unwritten)}

    async def totals(self) -> dict[str, Totals]:
        """Return what the tracker answered so far, by status, since the data directory was made."""
        rows = await self._thread.run(lambda connection: connection.execute(_TOTALS).fetchall())
        return {status: Totals(items, paid) for status, items, paid in rows}

    async def close(self) -> None:
        """Write what is left and close the file."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await self.write_pending()
        await self._thread.close()

    async def _write(self) -> None:
        while True:
            if await self.write_pending():
                if not self._unwritten and not self._released:
                    await self._bell.wait()
            else:
                await asyncio.sleep(RETRY_S)

    def _note_problem(self, problem: str) -> None:
        if problem and not self._problem:
            logger.warning("the outbox cannot be written: %s", problem, extra={"event": "outbox_unwritable"})
        elif self._problem and not problem:
            logger.info("the outbox can be written again", extra={"event": "outbox_writable"})
        self._problem = problem


def _row(key: JobKey, change: _Put) -> tuple[str | int | bytes | None, ...]:
    voucher, body = change.voucher.envelope, change.voucher.body
    receipt = change.receipt.envelope if change.receipt is not None else None
    return (
        key.client,
        key.job,
        key.segment,
        body.jti,
        voucher.body,
        voucher.signature,
        receipt.body if receipt else None,
        receipt.signature if receipt else None,
        "ready" if body.final else "held",
    )


def _item(
    voucher_body: bytes, voucher_signature: bytes, receipt_body: bytes | None, receipt_signature: bytes | None
) -> SettlementItem:
    receipt = None
    if receipt_body is not None and receipt_signature is not None:
        receipt = Envelope(body=receipt_body, signature=receipt_signature)
    return SettlementItem(voucher=Envelope(body=voucher_body, signature=voucher_signature), receipt=receipt)
