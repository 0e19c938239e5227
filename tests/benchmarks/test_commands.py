import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from gpunode_benchmarks import commands, failover_report, flood_report, overhead_report
from gpunode_benchmarks.engines import report
from gpunode_benchmarks.lab.errors import LabUnavailable
from gpunode_benchmarks.report import BenchResult, Measure
from gpunode_benchmarks.routing import report as routing_report
from gpunode_benchmarks.tracker import report as tracker_report
from typer.testing import CliRunner

Run = Callable[..., Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Put quick benches in the places of the real ones; return the list of their calls."""
    made: list[tuple[object, ...]] = []

    def bench(name: str) -> Callable[..., BenchResult]:
        def measured(*arguments: int) -> BenchResult:
            made.append((name, *arguments))
            measure = Measure(name="one", about="one", unit="ms", count=1, values={"median": 1.0})
            return BenchResult(bench=name, about="", settings={}, measures=(measure,), load_before=0.0, load_after=0.0)

        return measured

    monkeypatch.setattr(commands, "_bench", bench)
    return made


@pytest.fixture
def run() -> Run:
    """Return a function that runs ``gpunode bench ARGUMENTS``."""

    def run_bench(*arguments: str) -> Any:
        app = typer.Typer()
        commands.register(app)
        app.command("other")(lambda: None)  # with a single command, typer would drop its name
        return CliRunner().invoke(app, ["bench", *arguments])

    return run_bench


def test_without_a_subcommand_everything_runs(run: Run, calls: list[tuple[object, ...]]) -> None:
    """``gpunode bench`` is all benches in their order, with their own numbers of rounds."""
    assert run().exit_code == 0
    assert calls == [(name,) for name in commands.BENCHES]


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("mesh",), ("mesh",)),
        (("engines",), ("engines", 10)),
        (("engines", "--pairs", "24"), ("engines", 24)),
        (("discovery",), ("discovery",)),
        (("memory",), ("memory",)),
        (("flood",), ("flood", 19)),
        (("flood", "--attacker-nice", "0"), ("flood", 0)),
        (("failover",), ("failover", 3)),
        (("failover", "--runs", "50"), ("failover", 50)),
        (("overhead",), ("overhead", 10, 47)),
        (("overhead", "--pairs", "20", "--seconds", "150"), ("overhead", 20, 150)),
        (("tracker",), ("tracker",)),
        (("routing",), ("routing", 30)),
        (("routing", "--jobs", "200"), ("routing", 200)),
    ],
    ids=str,
)
def test_a_subcommand_runs_its_bench_alone(
    run: Run, calls: list[tuple[object, ...]], arguments: tuple[str, ...], call: tuple[object, ...]
) -> None:
    """``gpunode bench mesh`` does not load a model, ``gpunode bench engines`` starts no p2pd."""
    assert run(*arguments).exit_code == 0
    assert calls == [call]


@pytest.mark.parametrize("arguments", [("--json",), ("mesh", "--json")], ids=str)
def test_json_is_all_that_is_printed(run: Run, calls: list[tuple[object, ...]], arguments: tuple[str, ...]) -> None:
    """Standard output is one object, whichever benches ran."""
    printed = json.loads(run(*arguments).stdout)
    assert set(printed["benches"]) == {str(call[0]) for call in calls}


@pytest.mark.parametrize(
    "arguments", [("engines", "--pairs", "9"), ("overhead", "--pairs", "9"), ("overhead", "--seconds", "46")], ids=str
)
def test_too_few_pairs_are_refused(run: Run, calls: list[tuple[object, ...]], arguments: tuple[str, ...]) -> None:
    """Fewer pairs than orders of the sides would favour one, and few say nothing; nor do answers of two tokens."""
    assert run(*arguments).exit_code == 2
    assert calls == []


def test_json_before_the_name_is_refused(run: Run, calls: list[tuple[object, ...]]) -> None:
    """A program would otherwise wait for minutes, and get a table."""
    result = run("--json", "mesh")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "gpunode bench mesh --json" in " ".join(result.stderr.replace("│", " ").split())
    assert calls == []


def test_overhead_prints_an_object_of_its_own(
    run: Run, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand at the top, not below a bench's name."""
    monkeypatch.setattr(overhead_report, "to_overhead_json", lambda result, _: {"bench": result.bench})
    assert json.loads(run("overhead", "--json").stdout) == {"bench": "overhead"}
    assert calls == [("overhead", 10, 47)]


def test_engines_print_an_object_of_their_own(
    run: Run, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand at the top, too."""
    monkeypatch.setattr(report, "to_engines_json", lambda result, _: {"bench": result.bench})
    assert json.loads(run("engines", "--json").stdout) == {"bench": "engines"}
    assert calls == [("engines", 10)]


def test_flood_prints_an_object_of_its_own(
    run: Run, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand at the top, too."""
    monkeypatch.setattr(flood_report, "to_flood_json", lambda result, _: {"bench": result.bench})
    assert json.loads(run("flood", "--json").stdout) == {"bench": "flood"}
    assert calls == [("flood", 19)]


def test_failover_prints_an_object_of_its_own(
    run: Run, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand at the top, too."""
    monkeypatch.setattr(failover_report, "to_failover_json", lambda result, _: {"bench": result.bench})
    assert json.loads(run("failover", "--json").stdout) == {"bench": "failover"}
    assert calls == [("failover", 3)]


def test_routing_prints_an_object_of_its_own(
    run: Run, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand at the top, too."""
    monkeypatch.setattr(routing_report, "to_routing_json", lambda result, _: {"bench": result.bench})
    assert json.loads(run("routing", "--json").stdout) == {"bench": "routing"}
    assert calls == [("routing", 30)]


def test_tracker_prints_an_object_of_its_own(
    run: Run, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures stand at the top, too."""
    monkeypatch.setattr(tracker_report, "to_tracker_json", lambda result, _: {"bench": result.bench})
    assert json.loads(run("tracker", "--json").stdout) == {"bench": "tracker"}
    assert calls == [("tracker",)]


@pytest.fixture
def no_lab(calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A machine on which there can be no lab, so that the routing bench says so; return the calls of the others."""
    others = commands._bench

    def bench(name: str) -> Callable[..., BenchResult]:
        def unavailable(*_: int) -> BenchResult:
            raise LabUnavailable("There is no /dev/net/tun here.")

        return unavailable if name == "routing" else others(name)

    monkeypatch.setattr(commands, "_bench", bench)
    return calls


def test_a_bench_that_cannot_run_here_is_skipped(run: Run, no_lab: list[tuple[object, ...]]) -> None:
    """The others are shown; which one was skipped, and why, is said beside them."""
    result = run()
    assert result.exit_code == 0
    assert all(f"{name}: " in result.stdout for (name,) in no_lab)
    assert result.stderr.splitlines()[-1] == "routing was skipped: There is no /dev/net/tun here."


def test_json_tells_what_was_skipped(run: Run, no_lab: list[tuple[object, ...]]) -> None:
    """A program sees that the figures are not those of all benches."""
    told = json.loads(run("--json").stdout)
    assert told["skipped"] == {"routing": "There is no /dev/net/tun here."}
    assert set(told["benches"]) == {name for (name,) in no_lab} == set(commands.BENCHES) - {"routing"}


@pytest.mark.usefixtures("no_lab")
@pytest.mark.parametrize("arguments", [("routing",), ("routing", "--json")], ids=str)
def test_a_bench_that_was_asked_for_is_not_skipped(run: Run, arguments: tuple[str, ...]) -> None:
    """Without it there is nothing to show."""
    result = run(*arguments)
    assert isinstance(result.exception, LabUnavailable)
    assert result.stdout == ""


@pytest.mark.parametrize("name", list(commands.BENCHES))
def test_every_bench_exists(name: str) -> None:
    """The table of benches names functions that can be imported."""
    assert callable(commands._bench(name))
