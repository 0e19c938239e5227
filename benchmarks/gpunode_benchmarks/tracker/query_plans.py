"""How the database answers what the tracker asks on its hot paths: the statements that it really sends, explained."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from gpunode_protocol.tasks import Task
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.geoip import Unplaced
from gpunode_tracker.storage.api_keys import KeyHolder, holder_of_key
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.presence import LiveWorker
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.filling import Filled
from gpunode_benchmarks.tracker.index_nodes import MODEL
from gpunode_benchmarks.tracker.submissions import SUBMISSION

_PLANNED: Final = ("SELECT", "UPDATE", "DELETE", "WITH")
"""What has a plan. An INSERT writes its rows."""
_DERIVED: Final = re.compile(r"SCAN (\(?subquery|anon_|CONSTANT|lanes|before)")
"""Reads what another step of the same plan has found, which is shown by itself."""
_ONE_ROW: Final = re.compile(r"^SEARCH .*\(id=\?\)$")
"""By a primary key: one row at most for each that the step beside it found."""
_READS: Final = ("SCAN", "SEARCH")
_SORTS: Final = "USE TEMP B-TREE"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL as it goes to the driver, with one set of values."""

    sql: str
    parameters: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan of SQLite, in its words; parent: the step that it is a part of, 0 = none."""

    number: int
    parent: int
    text: str


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """One statement and how SQLite carries it out."""

    sql: str
    steps: tuple[Step, ...]

    @property
    def full_scans(self) -> tuple[str, ...]:
        """Steps that read a whole table or index."""
        return tuple(step.text for step in self.steps if step.text.startswith("SCAN") and not _is_derived(step))

    @property
    def sorts(self) -> tuple[str, ...]:
        """Steps that sort what comes out of a table, and not only what subqueries with limits of their own found."""
        return tuple(
            step.text for step in self.steps if step.text.startswith(_SORTS) and not self._sorts_few(step.parent)
        )

    def _sorts_few(self, parent: int) -> bool:
        beside = [step for step in self.steps if step.parent == parent and step.text.startswith(_READS)]
        return all(_is_derived(step) or _ONE_ROW.search(step.text) is not None for step in beside)


def _is_derived(step: Step) -> bool:
    return _DERIVED.match(step.text) is not None


async def hot_plans(settings: TrackerSettings, filled: Filled) -> dict[str, tuple[QueryPlan, ...]]:
    """Do once what is done all the time, on a tracker's database that no process uses, and return the plans by name.

    Raises:
        BenchmarkFailed: key, worker or queue are not there.
    """
    tracker = await Tracker.open(settings)
    try:
        statements = {name: await _sent(act) for name, act in (await _hot_paths(tracker, filled)).items()}
        async with tracker.database.read() as connection:
            return {name: await _plans(connection, sent) for name, sent in statements.items()}
    finally:
        await tracker.close()


async def _hot_paths(tracker: Tracker, filled: Filled) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return what is done all the time. Regions and nodes are looked up in memory; so is a worker that is live."""
    await _worker(tracker, filled.workers[0].token)  # its heartbeat is to be written

    async def regions() -> None:
        tracker.answers.regions(Unplaced.NO_PUBLIC_ADDRESS, tracker.workers.presence.by_region())

    async def nodes() -> None:
        tracker.answers.nodes(task=Task.LLM, model=MODEL, region=None)

    async def next_job() -> None:
        worker = await _worker(tracker, filled.workers[2].token)
        await tracker.workers.next_job(worker, 0, lambda: False)

    async def next_job_keyed() -> None:
        worker = await _worker(tracker, filled.keyed[-1].token)
        await tracker.workers.next_job(worker, 0, lambda: False)

    async def submit() -> None:
        of_key = await _holder(tracker, filled.api_key)
        job = await tracker.desk.submit(of_key.account, of_key.key.id, SUBMISSION, address="127.0.0.1", region=None)
        await tracker.outlook.of(job)

    return {
        "regions": regions,
        "nodes": nodes,
        "key": lambda: _holder(tracker, filled.api_key),
        "worker_token": lambda: _worker(tracker, filled.workers[1].token),
        "next_job": next_job,
        "next_job_keyed": next_job_keyed,
        "heartbeats": tracker.workers.sync.flush,
        "submit": submit,
    }


async def _holder(tracker: Tracker, api_key: str) -> KeyHolder:
    async with tracker.database.read() as connection:
        found = await holder_of_key(connection, api_key)
    if found is None:
        raise BenchmarkFailed("The account's key is not in the tracker's database. Run it again with --debug.")
    return found


async def _worker(tracker: Tracker, token: str) -> LiveWorker:
    found = await tracker.workers.find(token)
    if found is None:
        raise BenchmarkFailed("A worker is not in the tracker's database. Run it again with --debug.")
    tracker.workers.presence.hear(found)
    return found


async def _sent(act: Callable[[], Awaitable[object]]) -> list[Statement]:
    with recorded() as statements:
        await act()
    return statements


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Yield a list in which every statement of this process is noted that has a plan, once each."""
    found: dict[str, Statement] = {}
    listed: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, executemany: bool) -> None:
        if sql.lstrip().upper().startswith(_PLANNED) and sql not in found:
            found[sql] = Statement(sql, tuple(parameters[0] if executemany else parameters))
            listed.append(found[sql])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield listed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def _plans(connection: AsyncConnection, statements: Sequence[Statement]) -> tuple[QueryPlan, ...]:
    return tuple([await plan_of(connection, each) for each in statements])


async def plan_of(connection: AsyncConnection, statement: Statement) -> QueryPlan:
    """Return SQLite's plan for a statement (https://www.sqlite.org/eqp.html)."""
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.sql}", tuple(statement.parameters))
    steps = tuple(Step(row.id, row.parent, row.detail) for row in rows)
    return QueryPlan(" ".join(statement.sql.split()), steps)


def plans_to_json(plans: Mapping[str, Sequence[QueryPlan]]) -> dict[str, Any]:
    """Return plans by what is done, each with its steps in order."""
    return {
        name: [{"sql": plan.sql, "plan": [step.text for step in plan.steps]} for plan in of_name]
        for name, of_name in plans.items()
    }
