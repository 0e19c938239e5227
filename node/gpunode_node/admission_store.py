"""The memory of admitted requests on disk, so that a restarted node still refuses what it has worked on."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from gpunode_protocol.identity import PeerId

from gpunode_node.admission import JobKey, RememberedJob
from gpunode_node.sqlite_thread import SqliteThread

_SCHEMA = """
CREATE TABLE IF NOT EXISTS admitted (
    client TEXT NOT NULL,
    job TEXT NOT NULL,
    segment INTEGER NOT NULL,
    jti TEXT NOT NULL,
    digest BLOB NOT NULL,              -- SHA-256 of the signed request
    cost_microcredits INTEGER NOT NULL,  -- worst case while the job runs, then what it came to
    forget_at INTEGER NOT NULL,        -- Unix seconds
    vouched_until INTEGER NOT NULL,    -- output units of the whole job
    PRIMARY KEY (client, job, segment)
) WITHOUT ROWID;
"""
_SAVE = """
INSERT INTO admitted (client, job, segment, jti, digest, cost_microcredits, forget_at, vouched_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (client, job, segment) DO UPDATE
SET cost_microcredits = excluded.cost_microcredits, vouched_until = excluded.vouched_until
"""
_LOAD = """
SELECT client, job, segment, jti, digest, cost_microcredits, forget_at, vouched_until
FROM admitted WHERE forget_at >= ?
"""
_DELETE = "DELETE FROM admitted WHERE client = ? AND job = ? AND segment = ?"


class AdmissionStore:
    """Rows of ``RememberedJob``. A job that was running when the process died keeps its worst case as its cost.

    All methods raise ``sqlite3.Error`` when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        # NORMAL: the death of the process loses nothing; after a loss of power, requests are stale (60 s) anyway
        self._thread = SqliteThread(path, _SCHEMA, "NORMAL")

    async def open(self, now: float) -> list[RememberedJob]:
        """Open the file and return what is to be remembered at ``now`` (Unix seconds).

        Raises:
            StateUnwritable: the file cannot be opened.
        """
        await self._thread.open()
        rows = await self._thread.run(lambda connection: connection.execute(_LOAD, (int(now),)).fetchall())
        return [
            RememberedJob(JobKey(PeerId(client), job, segment), *columns) for client, job, segment, *columns in rows
        ]

    async def save(self, job: RememberedJob) -> None:
        """Insert a job, or update its cost and how far it was vouched for."""
        key = job.key
        names = (key.client, key.job, key.segment, job.jti, job.digest)
        row = (*names, job.cost_microcredits, job.forget_at, job.vouched_until)
        await self._thread.run(lambda connection: connection.execute(_SAVE, row))

    async def delete(self, keys: Iterable[JobKey]) -> None:
        """Drop jobs."""
        rows = [(key.client, key.job, key.segment) for key in keys]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_DELETE, rows)

        await self._thread.run(work)

    async def close(self) -> None:
        """Close the file."""
        await self._thread.close()
