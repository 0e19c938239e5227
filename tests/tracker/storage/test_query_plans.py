"""What is asked again and again is found by an index, however much there is: see the plans."""

import re
from collections.abc import Awaitable, Callable

import pytest
from gpunode_tracker.entries import account_name
from gpunode_tracker.jobs.job import Lease, Outcome, dispatch_holder, worker_holder
from gpunode_tracker.storage import accounts, api_keys, attempts, grants, jobs, ledger, nodes, settlements
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.named_lanes import named_lanes, waits_in
from gpunode_tracker.storage.tables import workers
from gpunode_tracker.storage.workers import workers_page
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import job_id
from tests.tracker.storage.long_queue import LANES, NOW, OTHERS, fill
from tests.tracker.storage.query_plans import Statement, problems_of, recorded
from tests.tracker.storage.queued_jobs import LEASE_S, queued_job

HOLDER = worker_holder("w7")
SORTED_FEW = {"nodes of an account", "newest certificate"}
"""What an account or a node has a handful of may be sorted."""
WALKS = {
    "workers of a task": "workers",  # a list for people; its tasks are a list in one column, without an index
    "workers of a region and a task": "workers",
    "jobs of each lane": "jobs",  # counts them all, for workers that find no job; once in seconds for all of them
}
"""What may read a whole table, and which; sorting it would be too much for these too."""


def _lease(number: int) -> Lease:
    return Lease(job_id=job_id(number), holder=HOLDER, attempt=1)


def _questions(count: int) -> dict[str, Callable[[AsyncConnection], Awaitable[object]]]:
    """Return what is asked again and again, by name. count: jobs in the queue."""
    job, running, outcome = job_id(7), _lease(count + OTHERS + 7), Outcome(result=b"r", processing_ms=1)
    of_worker = select(workers).where(workers.c.auth_token_hash == accounts.secret_hash("auth 7"))
    of_either = or_(
        workers.c.auth_token_hash == accounts.secret_hash("old 7"),
        workers.c.old_token_hash == accounts.secret_hash("old 7"),
    )
    name = account_name("a7")
    return {
        "next job": lambda c: jobs.claim_job(c, HOLDER, LANES, now=NOW, lease_s=LEASE_S),
        "next job of a worker": lambda c: jobs.claim_job(c, HOLDER, LANES, now=NOW, lease_s=LEASE_S, most=10**6),
        "next job of dispatch": lambda c: jobs.claim_job(c, dispatch_holder("r"), LANES, now=NOW, lease_s=LEASE_S),
        "what a worker holds": lambda c: attempts.held_by(c, HOLDER),
        "failures lately": lambda c: attempts.failures_since(c, job, since=NOW - 60),
        "nodes that were asked": lambda c: attempts.nodes_asked(c, job, before=3),
        "job": lambda c: jobs.find_job(c, job, account_id="a7"),
        "jobs of an account": lambda c: jobs.jobs_of_account(c, "a7", before_id=job_id(count), limit=50),
        "queued jobs of an account": lambda c: jobs.jobs_of_account(c, "a7", status="queued", limit=50),
        "lanes of an account": lambda c: named_lanes(c, "a7", limit=32),
        "a lane of an account": lambda c: waits_in(c, "a7", LANES[0]),
        "workers of a region": lambda c: workers_page(c, region="europe", after_id="w7", limit=50),
        "live workers": lambda c: workers_page(c, status="online", limit=50),
        "workers of a task": lambda c: workers_page(c, task="llm", limit=50),
        "workers of a region and a task": lambda c: workers_page(c, region="europe", task="llm", limit=50),
        "jobs of each lane": jobs.queued_by_lane,
        "jobs ahead": lambda c: jobs.jobs_ahead(c, queued_job(count), LANES, limit=1_000),
        "renewal": lambda c: jobs.renew_lease(c, running, now=NOW, lease_s=LEASE_S),
        "request": lambda c: jobs.keep_request(c, running, b"r"),
        "completion": lambda c: jobs.complete_job(c, running, outcome, now=NOW),
        "failure": lambda c: jobs.fail_attempt(c, _lease(count + OTHERS + 16), "x", now=NOW),
        "cancellation": lambda c: jobs.cancel_job(c, job, now=NOW),
        "holder": lambda c: jobs.lease_of(c, job),
        "reasons": lambda c: attempts.failures_of(c, job),
        "expired leases": lambda c: jobs.expired_leases(c, now=NOW, limit=100),
        "old jobs": lambda c: jobs.jobs_to_delete(c, completed_before=NOW, limit=100),
        "deletion": lambda c: jobs.delete_jobs(c, [job_id(count + number) for number in range(100)]),
        "worker of a token": lambda c: c.execute(of_worker),
        "worker of either token": lambda c: c.execute(select(workers).where(of_either)),
        "holder of a key": lambda c: api_keys.holder_of_key(c, "k7"),
        "account, locked": lambda c: accounts.find_account(c, "a7", lock=True),
        "node of a token": lambda c: nodes.node_of_token(c, "t7"),
        "nodes": lambda c: nodes.find_nodes(c, {"p7", "p8", "p9"}, share=True),
        "nodes of an account": lambda c: nodes.peers_of_account(c, "a7"),
        "heartbeat": lambda c: nodes.note_heartbeat(c, "p7", now=NOW),
        "newest certificate": lambda c: nodes.newest_certificate_at(c, "p7"),
        "revoked certificates": lambda c: nodes.revoked_certificates(c, now=NOW),
        "revoked grants": lambda c: grants.revoked_grants(c, now=NOW),
        "grants, locked": lambda c: grants.lock_grants(c, {"g7", "g8"}),
        "grants to return": lambda c: grants.grants_to_return(c, now=NOW, limit=100),
        "reserved": lambda c: grants.reserved_by(c, "a7"),
        "balance": lambda c: ledger.balance(c, name),
        "entries": lambda c: ledger.entries_of(c, name, before_row=None, limit=50),
        "older entries": lambda c: ledger.entries_of(c, name, before_row=OTHERS, limit=50),
        "new leaves": lambda c: ledger.unsequenced(c, 2_000),
        "oldest new leaf": ledger.unsequenced_since,
        "leaves": lambda c: ledger.leaf_hashes(c, OTHERS // 2, 100),
        "settlement of a receipt": lambda c: settlements.settlement_of_receipt(c, b"\xff" * 32),
        "paid": lambda c: settlements.paid_to_node(c, "g7", "p7"),
    }


@ON_BOTH
@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.full)])
async def test_nothing_reads_or_sorts_a_whole_table(database: Database, count: int) -> None:
    """With a long queue, half of which has failed once already, and thousands of workers, nodes, keys and grants."""
    await fill(database, count)
    problems: list[str] = []
    asked: dict[str, list[Statement]] = {}
    async with database.write() as connection:
        for name, ask in _questions(count).items():
            with recorded(database) as asked[name]:
                await ask(connection)
        for name, statements in asked.items():
            assert statements, f"{name} asked nothing"
            for statement in statements:
                found = await problems_of(connection, statement)
                if name in SORTED_FEW:
                    found = [problem for problem in found if "ORDER BY" not in problem]
                if name in WALKS:
                    walk = re.compile(rf"\b(SCAN|reads all of) {WALKS[name]}\b")
                    found = [problem for problem in found if not walk.search(problem)]
                problems += [f"{name}: {problem} in {statement.sql[:300]}" for problem in found]
    assert not problems, "\n\n".join(problems)
