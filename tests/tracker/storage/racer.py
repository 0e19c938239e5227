"""A tracker's process that takes jobs as fast as it can: ``python -m tests.tracker.storage.racer URL NAME``.

Prints the ids of the jobs that it completed, one a line.
"""

import asyncio
import itertools
import sys

from gpunode_tracker.jobs.job import Lease, Outcome, worker_holder
from gpunode_tracker.storage import jobs
from gpunode_tracker.storage.database import Database

from tests.tracker.parties import START_AT
from tests.tracker.storage.queued_jobs import LANE, LEASE_S

TASKS = 4
"""Jobs that one process takes at once."""
STUMBLE_EVERY = 20
"""Every so many leases the taker dies before it has them for sure."""


class Stumbled(Exception):
    """The process died in the middle of a transaction."""


async def race(database: Database, name: str) -> list[str]:
    """Take and complete jobs until there are no more; return the ids of the completed ones."""
    counter = itertools.count(1)
    found = await asyncio.gather(*(_take_and_complete(database, f"{name}", counter) for _ in range(TASKS)))
    return [job_id for ids in found for job_id in ids]


async def _take_and_complete(database: Database, name: str, counter: "itertools.count[int]") -> list[str]:
    done = []
    while True:
        try:
            lease = await _lease(database, name, stumbles=next(counter) % STUMBLE_EVERY == 0)
        except Stumbled:
            continue
        if lease is None:
            return done
        async with database.write() as connection:
            outcome = Outcome(result=name.encode(), processing_ms=1)
            ended = await jobs.complete_job(connection, lease, outcome, now=START_AT)
        if ended is None:
            raise AssertionError(f"{lease} was taken by somebody else")
        done.append(lease.job_id)


async def _lease(database: Database, name: str, *, stumbles: bool) -> Lease | None:
    holder = worker_holder(name)
    async with database.write() as connection:
        job = await jobs.claim_job(connection, holder, (LANE,), now=START_AT, lease_s=LEASE_S)
        if job is not None and stumbles:
            raise Stumbled
    return Lease(job_id=job.id, holder=holder, attempt=job.attempt) if job is not None else None


async def _main(url: str, name: str) -> list[str]:
    database = Database(url)
    try:
        return await race(database, name)
    finally:
        await database.close()


if __name__ == "__main__":
    print("\n".join(asyncio.run(_main(*sys.argv[1:]))))  # noqa: T201 -- what the test reads
