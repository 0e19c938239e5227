from gpunode_benchmarks.tracker.query_plans import QueryPlan, Statement, Step, hot_plans, plan_of, plans_to_json
from gpunode_benchmarks.tracker.tracker_process import bench_settings

from tests.benchmarks.tracker.conftest import FilledFolder, Served


async def test_no_hot_path_reads_or_sorts_a_table(folder: FilledFolder) -> None:
    """Look-ups of regions and nodes ask the database nothing at all; all others go by indices."""
    plans = await hot_plans(bench_settings(folder.path), folder.filled)
    assert [name for name, of_name in plans.items() if not of_name] == ["regions", "nodes"]
    every = [plan for of_name in plans.values() for plan in of_name]
    assert [(plan.full_scans, plan.sorts, plan.sql) for plan in every if plan.full_scans or plan.sorts] == []


async def test_a_hot_path_begins_with_who_asks(folder: FilledFolder) -> None:
    """Its statements are those of the whole request: a key or a token is looked up before anything is done."""
    plans = await hot_plans(bench_settings(folder.path), folder.filled)
    for name, found_by in (("key", "key"), ("submit", "key"), ("worker_token", "token"), ("next_job", "token")):
        assert any(f"{found_by}_hash" in plan.sql for plan in plans[name]), name


async def test_a_scan_and_a_sort_are_seen(served: Served) -> None:
    """The check can fail."""
    async with served.tracker.database.read() as connection:
        plan = await plan_of(connection, Statement("SELECT name FROM workers\nORDER BY city", ()))
    assert plan.sql == "SELECT name FROM workers ORDER BY city"
    assert plan.full_scans == ("SCAN workers",)
    assert plan.sorts == ("USE TEMP B-TREE FOR ORDER BY",)


def test_sorting_what_subqueries_found_is_no_sort_of_a_table() -> None:
    """They have limits of their own, and a primary key names one row."""
    steps = (
        Step(1, 0, "CO-ROUTINE anon_1"),
        Step(2, 1, "SEARCH jobs USING INDEX i (lane=?)"),
        Step(3, 0, "SCAN anon_1"),
        Step(4, 0, "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"),
        Step(5, 0, "USE TEMP B-TREE FOR ORDER BY"),
    )
    plan = QueryPlan("SELECT", steps)
    assert (plan.full_scans, plan.sorts) == ((), ())


def test_sorting_a_table_beside_a_subquery_is_a_sort() -> None:
    """Nothing limits what the join with a whole table brings."""
    steps = (
        Step(1, 0, "CO-ROUTINE anon_1"),
        Step(2, 1, "SEARCH jobs USING INDEX i (lane=?)"),
        Step(3, 0, "SCAN anon_1"),
        Step(4, 0, "SEARCH workers USING INDEX w (region=?)"),
        Step(5, 0, "USE TEMP B-TREE FOR ORDER BY"),
    )
    assert QueryPlan("SELECT", steps).sorts == ("USE TEMP B-TREE FOR ORDER BY",)


def test_json_of_plans() -> None:
    """By what is done; each statement with its steps."""
    plan = QueryPlan("SELECT 1", (Step(1, 0, "SCAN CONSTANT ROW"),))
    assert plans_to_json({"key": [plan], "nodes": []}) == {
        "key": [{"sql": "SELECT 1", "plan": ["SCAN CONSTANT ROW"]}],
        "nodes": [],
    }
