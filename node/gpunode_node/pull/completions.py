"""Ends of pulled jobs on their way to the tracker, on disk until it has answered for them."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpunode_protocol.errors import UnexpectedMessage
from gpunode_protocol.jobs_api import JobCompletion
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Signed
from gpunode_protocol.vouchers import Voucher

from gpunode_node.admission import JobKey
from gpunode_node.sqlite_thread import SqliteThread

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0
"""Pause between attempts to write to a full disk."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
    job TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    body BLOB NOT NULL,                -- a JobCompletion in JSON
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (
    status TEXT PRIMARY KEY,           -- the tracker's answer: completed, failed, queued (again), lost, refused
    jobs INTEGER NOT NULL,
    paid_microcredits INTEGER NOT NULL
) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO completions (job, attempt, body) VALUES (?, ?, ?)"
_ALL = "SELECT job, attempt, body FROM completions"
_DELETE = "DELETE FROM completions WHERE job = ? AND attempt = ?"
_ADD_TOTAL = """
INSERT INTO totals (status, jobs, paid_microcredits) VALUES (?, 1, ?)
ON CONFLICT (status) DO UPDATE
SET jobs = jobs + 1, paid_microcredits = paid_microcredits + excluded.paid_microcredits
"""
_TOTALS = "SELECT status, jobs, paid_microcredits FROM totals"


@dataclass(frozen=True)
class Completion:
    """The end of one attempt at a job. body: a ``JobCompletion`` in JSON. success: as in it."""

    job_id: str
    attempt: int
    body: bytes = field(repr=False)
    success: bool

    @classmethod
    def of(cls, job_id: str, body: JobCompletion) -> "Completion":
        """Return what is delivered for a job."""
        data = body.model_dump_json(exclude_none=True).encode()
        return cls(job_id, body.attempt or 0, data, body.success)

    @property
    def key(self) -> tuple[str, int]:
        """What it is known by."""
        return self.job_id, self.attempt


@dataclass(frozen=True, slots=True)
class Totals:
    """What the tracker answered so far for ends of one kind."""

    jobs: int
    paid_microcredits: int


class CompletionOutbox:
    """The durable queue, in which a restart finds what was not delivered.

    What the disk does not take stays in memory and is written when there is room again.
    """

    def __init__(self, path: Path) -> None:
        self._thread = SqliteThread(path, _SCHEMA, "FULL")
        self._waiting: dict[tuple[str, int], Completion] = {}
        self._unwritten: set[tuple[str, int]] = set()
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._problem = ""
        self.on_problem: Callable[[], None] = lambda: None  #: called when ``problem`` came or went

    async def open(self) -> tuple[Completion, ...]:
        """Open the file; return what an earlier process did not deliver.

        Raises:
            StateUnwritable: the file cannot be opened.
        """
        await self._thread.open()
        rows = await self._thread.run(lambda connection: connection.execute(_ALL).fetchall())
        found = [
            Completion(job, attempt, body, JobCompletion.model_validate_json(body).success)
            for job, attempt, body in rows
        ]
        self._waiting = {each.key: each for each in found}
        return tuple(found)

    @property
    def problem(self) -> str:
        """Why new jobs cannot be taken (the disk is full), empty when they can."""
        return self._problem

    @property
    def waiting(self) -> tuple[Completion, ...]:
        """What the tracker has not answered for."""
        return tuple(self._waiting.values())

    async def put(self, completion: Completion) -> None:
        """Keep a job's end; when this returns it is on disk, or the disk takes nothing and ``problem`` says so."""
        self._waiting[completion.key] = completion
        self._unwritten.add(completion.key)
        if not await self._write_pending() and self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def remove(self, completion: Completion, status: str, paid_microcredits: int = 0) -> None:
        """Drop what the tracker has answered for, and count it under ``status``.

        What the disk keeps all the same (it is full) will be sent again after a restart, and be refused as done.
        """
        self._waiting.pop(completion.key, None)
        self._unwritten.discard(completion.key)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_DELETE, completion.key)
            connection.execute(_ADD_TOTAL, (status, paid_microcredits))

        async with self._writing:  # after a write of the same one that is under way
            try:
                await self._thread.run(work)
            except (sqlite3.Error, OSError) as error:
                self._note_problem(str(error))

    async def totals(self) -> dict[str, Totals]:
        """Return what the tracker answered so far, by status, since the data directory was made."""
        rows = await self._thread.run(lambda connection: connection.execute(_TOTALS).fetchall())
        return {status: Totals(jobs, paid) for status, jobs, paid in rows}

    def counts(self) -> dict[str, int]:
        """Return how many ends are ``ready``, and how many of them ``unwritten``."""
        return {"ready": len(self._waiting), "unwritten": len(self._unwritten)}

    async def close(self) -> None:
        """Write what is left and close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        await self._write_pending()
        await self._thread.close()

    async def _write(self) -> None:
        """Try again until the disk has taken everything."""
        try:
            await asyncio.sleep(RETRY_S)
            while not await self._write_pending():  # noqa: ASYNC110 -- nothing tells when a disk has room again
                await asyncio.sleep(RETRY_S)
        finally:
            self._writer = None

    async def _write_pending(self) -> bool:
        """Write what the disk has not taken yet; return whether all of it is there now."""
        async with self._writing:
            keys = tuple(self._unwritten)
            rows = [(*key, self._waiting[key].body) for key in keys]
            try:
                await self._thread.run(lambda connection: connection.executemany(_PUT, rows))
            except (sqlite3.Error, OSError) as error:
                self._note_problem(str(error))
                return False
            self._unwritten.difference_update(keys)
            self._note_problem("")
            return not self._unwritten

    def _note_problem(self, cause: str) -> None:
        problem = cause and f"The disk does not take results of jobs ({cause}), so this worker takes no new ones."
        if problem and not self._problem:
            logger.warning("%s", problem, extra={"event": "completions_unwritable"})
        elif self._problem and not problem:
            logger.info("results of jobs can be written again", extra={"event": "completions_writable"})
        changed, self._problem = bool(problem) != bool(self._problem), problem
        if changed:
            self.on_problem()


class VoucherlessOutbox:
    """What pulled jobs have instead of an outbox for vouchers: the tracker settles what it has verified.

    Args:
        completions: whose problem keeps new jobs away.
    """

    def __init__(self, completions: CompletionOutbox) -> None:
        self._completions = completions

    @property
    def problem(self) -> str:
        """See ``JobOutbox``."""
        return self._completions.problem

    def put(self, _key: JobKey, _voucher: Signed[Voucher], _receipt: Signed[Receipt] | None = None, /) -> None:
        """Raise UnexpectedMessage: nobody vouches for a pulled job on its way."""
        raise UnexpectedMessage("A voucher came for a pulled job.")

    def release(self, _key: JobKey, /) -> None:
        """See ``JobOutbox``; there is nothing to release."""

    async def write_pending(self) -> bool:
        """See ``JobOutbox``; nothing is ever kept here."""
        return True
