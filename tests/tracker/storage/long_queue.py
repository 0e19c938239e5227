"""A database that has been in use: a long queue, and thousands of workers, nodes, keys, grants and ledger entries."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.entries import account_name, reserved_name
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.jobs.lanes import lanes_for
from gpunode_tracker.storage import tables
from gpunode_tracker.storage.accounts import secret_hash
from gpunode_tracker.storage.database import Database
from sqlalchemy import Table, insert, text

from tests.tracker.parties import START_AT, job_id
from tests.tracker.storage.queued_jobs import queued_job

OTHERS: Final = 2_000
"""Rows of the tables beside the queue: enough that reading them all is more work than an index."""
LANES: Final = lanes_for((Task.LLM, Task.EMBEDDING), Region.EUROPE, ("m1", "m2", "m3"))
HOLDERS: Final = 9
"""Workers who failed half of the queue between them."""
NOW: Final = START_AT + 2 * 10**6
"""When all that has happened."""
EXPIRED_LEASES: Final = 20
LEAF_BYTES: Final = 300
"""As large as the ledger's entries are."""
_CHUNK_ROWS: Final = 1_000

Row = dict[str, Any]


async def fill(database: Database, queued: int) -> None:
    """Write it all. queued: jobs that wait; the next ``OTHERS`` have ended, and as many after them run."""
    rows = _rows(queued)
    for table in tables.metadata.sorted_tables:
        rest = iter(rows.get(table, ()))
        while chunk := list(islice(rest, _CHUNK_ROWS)):
            async with database.write() as connection:
                await connection.execute(insert(table), chunk)
    async with database._engine.connect() as connection:
        if connection.dialect.name == "postgresql":  # whose server does that by itself, but not in tests
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM ANALYZE"))


def _rows(queued: int) -> dict[Table, Iterable[Row]]:
    return {
        tables.accounts: _each(_account),
        tables.api_keys: _each(_api_key),
        tables.nodes: _each(_node),
        tables.certificates: _each(_certificate, 3 * OTHERS),
        tables.price_tables: ({"version": 1_000 + number, "body": {}} for number in range(3)),
        tables.grants: _each(_grant),
        tables.ledger_entries: _each(_entry),
        tables.transfers: (line for number in range(2 * OTHERS) for line in _transfers(number)),
        tables.balance_checkpoints: (
            {"account": account_name(f"a{n}"), "last_transfer": 1 + n, "microcredits": 1} for n in range(OTHERS)
        ),
        tables.entry_owners: ({"owner": account_name(_owner(n)), "entry_row": 1 + n} for n in range(OTHERS)),
        tables.settlements: _each(_settlement),
        tables.workers: _each(_worker),
        tables.jobs: (_job(number, queued) for number in range(queued + 2 * OTHERS)),
        tables.job_attempts: (_attempt(number, queued) for number in range(queued // 2, queued + 2 * OTHERS)),
        tables.idempotency_keys: _each(_idempotency_key),
    }


def _each(make: Any, count: int = OTHERS) -> Iterator[Row]:
    return (make(number) for number in range(count))


def _owner(number: int) -> str:
    return f"a{number % 100}"


def _account(number: int) -> Row:
    return {"id": f"a{number}", "name": f"name {number}", "promotional": False, "created_at": START_AT + number}


def _api_key(number: int) -> Row:
    names = {"id": f"k{number}", "name": "", "account_id": f"a{number}"}
    return {"key_hash": secret_hash(f"k{number}"), "created_at": START_AT, **names}


def _node(number: int) -> Row:
    texts = {"peer": f"p{number}", "account_id": f"a{number % 500}", "name": "", "country": "DE", "gpu_model": ""}
    numbers = {"gpu_memory_mb": 1, "registered_at": START_AT}
    return {**texts, **numbers, "supported_tasks": [], "token_hash": secret_hash(f"t{number}")}


def _certificate(number: int) -> Row:
    times = {"issued_at": START_AT + number, "expires_at": START_AT + 1_000 * number}
    revoked_at = START_AT if number % 50 == 0 else None
    return {"serial": f"s{number}", "peer": f"p{number % OTHERS}", **times, "revoked_at": revoked_at}


def _grant(number: int) -> Row:
    at = START_AT + 1_000 * number
    times = {"issued_at": at, "expires_at": at + 60, "release_at": at + 7_000}
    ends = {
        "returned_at": at + 7_000 if number < 0.97 * OTHERS else None,
        "revoked_at": at if number % 50 == 0 else None,
    }
    terms = {"client": "c", "tasks": [], "node_caps": None, "price_version": 1_000, "reserved": 1}
    return {"jti": f"g{number}", "account_id": _owner(number), **terms, **times, **ends}


def _entry(number: int) -> Row:
    position = number if number < OTHERS - 5 else None
    leaf = {"kind": "issue", "leaf": bytes(LEAF_BYTES), "leaf_hash": bytes(32)}
    return {"row": 1 + number, "id": f"e{number}", "at": START_AT + number, "position": position, **leaf}


def _transfers(number: int) -> Iterator[Row]:
    for name in (account_name(_owner(number)), reserved_name(f"g{number % OTHERS}")):
        yield {"entry_row": 1 + number % OTHERS, "account": name, "microcredits": 1}


def _settlement(number: int) -> Row:
    names = {"client": f"c{number % 50}", "job": job_id(number), "node": f"p{number}", "jti": f"g{number}"}
    counts = {"segment": 0, "start": 0, "count": 1, "input_count": 1, "paid": 1, "entry_row": 1 + number}
    digests = {"voucher_digest": b"v", "output_digest": b"o", "receipt_digest": number.to_bytes(32, "big")}
    bodies = {"voucher_body": b"v", "voucher_signature": b"s", "receipt_body": b"r", "receipt_signature": b"s"}
    return {"task": "llm", "model": "m", "final": True, **names, **counts, **digests, **bodies}


def _worker(number: int) -> Row:
    texts = dict.fromkeys(("name", "country", "city", "gpu_model"), "")
    numbers = dict.fromkeys(("gpu_memory_gb", "memory_used_gb", "success_rate", "total_jobs"), 1)
    hashes = {f"{age}_token_hash": secret_hash(f"{age} {number}") for age in ("auth", "old")}
    state = {"status": "online", "region": "europe", "maintenance": False, "supported_types": [], "models": []}
    times = {"registered_at": START_AT, "last_heartbeat": START_AT + number}
    return {"id": f"w{number}", **texts, **numbers, **hashes, **state, **times}


def _job(number: int, queued: int) -> Row:
    state: Row = {"lane": LANES[number % len(LANES)], "account_id": _owner(number)}
    if number >= queued + OTHERS:
        until = NOW - EXPIRED_LEASES + number - queued - OTHERS
        state |= {"status": JobStatus.RUNNING, "lease_expires_at": until, "attempt": 1}
    elif number >= queued:
        state |= {"status": JobStatus.COMPLETED, "completed_at": START_AT + number, "attempt": 1}
    return vars(queued_job(number, priority=number % 10, **state))


def _attempt(number: int, queued: int) -> Row:
    """Return an attempt: one that runs, or one that ended. The second half of the queue had one each, which failed."""
    ended = number < queued + OTHERS
    end = {"ended_at": START_AT + number if ended else None, "failure": "broken" if number < queued else None}
    return {
        "job_id": job_id(number),
        "attempt": 1,
        "holder": f"worker:w{number % HOLDERS}",
        "started_at": START_AT,
        **end,
    }


def _idempotency_key(number: int) -> Row:
    digest = {"body_digest": b"d", "created_at": START_AT + number}
    return {"account_id": _owner(number), "key": f"key {number}", "job_id": job_id(number), **digest}
