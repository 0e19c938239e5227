"""What a database does to answer: the statements that functions really send, and the plans for them."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from gpunode_tracker.storage.database import Database
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

MAX_SORTED_ROWS: Final = 100
"""Sorting as many takes no time; a plan that expects to sort more sorts a table."""
_DERIVED: Final = r"SCAN (\(?subquery|anon_|CONSTANT|lanes\b|before\b)"
"""What is scanned there came out of another step, and that was looked at by itself. The last two: of loose scans."""
_PLANNED: Final = ("SELECT", "UPDATE", "DELETE", "WITH")


@dataclass(frozen=True)
class Statement:
    """SQL as it goes to the driver."""

    sql: str
    parameters: tuple[Any, ...]


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """Yield a list in which every statement is noted that has a plan."""
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, executemany: bool) -> None:
        if not executemany and sql.lstrip().upper().startswith(_PLANNED):
            found.append(Statement(sql, tuple(parameters)))

    engine = database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def problems_of(connection: AsyncConnection, statement: Statement) -> list[str]:
    """Return where the plan of a statement reads or sorts a whole table."""
    if connection.dialect.name == "sqlite":
        return await _sqlite_problems(connection, statement)
    found = []
    for mode in ("force_custom_plan", "force_generic_plan"):  # the server changes to the second after some executions
        await connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
        await connection.exec_driver_sql(f"PREPARE looked_at AS {statement.sql}")
        values = ", ".join(_literal(value) for value in statement.parameters)
        explained = f"EXPLAIN (FORMAT JSON) EXECUTE looked_at {f'({values})' if values else ''}"
        (plan,) = (await connection.exec_driver_sql(explained)).scalar_one()
        await connection.exec_driver_sql("DEALLOCATE looked_at")
        found += [f"{mode}: {problem}" for problem in _postgres_problems(plan["Plan"])]
    return found


async def _sqlite_problems(connection: AsyncConnection, statement: Statement) -> list[str]:
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters)
    steps = {row[0]: (row[1], str(row[3])) for row in rows}
    found = []
    for parent, step in steps.values():
        is_scan = step.startswith("SCAN") and not re.match(_DERIVED, step)
        is_sort = step.startswith("USE TEMP B-TREE") and not _sorts_few(steps, parent)
        if is_scan or is_sort:
            found.append(step)
    return found


def _sorts_few(steps: dict[int, tuple[int, str]], parent: int) -> bool:
    """Return whether what is sorted comes out of subqueries with limits of their own: nothing else is at that level."""
    read = [step for above, step in steps.values() if above == parent and step.startswith(("SEARCH", "SCAN"))]
    return all(re.match(_DERIVED, step) for step in read)


def _postgres_problems(plan: dict[str, Any]) -> list[str]:
    found = []
    kind = plan["Node Type"]
    if kind == "Seq Scan":
        found.append(f"reads all of {plan['Relation Name']}")
    if "Sort" in kind and max(part["Plan Rows"] for part in plan["Plans"]) > MAX_SORTED_ROWS:
        found.append(f"sorts {json.dumps(plan['Plans'][0]['Plan Rows'])} rows")
    for part in plan.get("Plans", ()):
        found += _postgres_problems(part)
    return found


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"ARRAY[{', '.join(_literal(item) for item in value)}]"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
