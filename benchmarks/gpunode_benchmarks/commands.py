"""``gpunode bench``: all benches, or one of them."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gpunode_benchmarks.lab.commands import lab_app
from gpunode_benchmarks.lab.errors import LabUnavailable

if TYPE_CHECKING:
    from gpunode_benchmarks.report import BenchResult

#: Each bench's name and ``module:function``, in the order in which they run. The function's only parameter is optional:
#: how often to measure, or how hard.
BENCHES: Final[Mapping[str, str]] = {
    "mesh": "gpunode_benchmarks.mesh_bench:run_mesh_bench",
    "engines": "gpunode_benchmarks.engines.bench:run_engines_bench",
    "overhead": "gpunode_benchmarks.overhead_bench:run_overhead_bench",
    "discovery": "gpunode_benchmarks.discovery_bench:run_discovery_bench",
    "memory": "gpunode_benchmarks.memory_bench:run_memory_bench",
    "flood": "gpunode_benchmarks.flood_bench:run_flood_bench",
    "failover": "gpunode_benchmarks.failover_bench:run_failover_bench",
    "tracker": "gpunode_benchmarks.tracker.bench:run_tracker_bench",
    "routing": "gpunode_benchmarks.routing.bench:run_routing_bench",
}

_FEWEST_ENGINE_PAIRS: Final = 10
_FEWEST_OVERHEAD_PAIRS: Final = 10
_OVERHEAD_S: Final = 47
_FAILOVER_RUNS: Final = 3
_ROUTING_JOBS: Final = 30
_FEWEST_ROUTING_JOBS: Final = 6

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]


def register(app: typer.Typer) -> None:
    """Add the ``bench`` commands."""
    bench_app = typer.Typer(help="Measure on this machine; without a subcommand: everything.")
    bench_app.callback(invoke_without_command=True)(run_all)
    bench_app.command("mesh")(run_mesh)
    bench_app.command("engines")(run_engines)
    bench_app.command("overhead")(run_overhead)
    bench_app.command("discovery")(run_discovery)
    bench_app.command("memory")(run_memory)
    bench_app.command("flood")(run_flood)
    bench_app.command("failover")(run_failover)
    bench_app.command("tracker")(run_tracker)
    bench_app.command("routing")(run_routing)
    bench_app.add_typer(lab_app(), name="lab")
    app.add_typer(bench_app, name="bench")


def run_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """Measure on this machine; without a subcommand: everything."""
    name = context.invoked_subcommand
    if name is None:
        _run_all_and_print(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(f"Give it after the bench's name: gpunode bench {name} --json.", param_hint="--json")


def run_mesh(as_json: JsonOption = False) -> None:
    """Measure streams and records between two peers on loopback."""
    _run_and_print("mesh", as_json=as_json)


def run_engines(
    as_json: JsonOption = False,
    pairs: Annotated[
        int, typer.Option(min=_FEWEST_ENGINE_PAIRS, help="Pairs per ratio: more of them see smaller differences.")
    ] = _FEWEST_ENGINE_PAIRS,
) -> None:
    """Measure every kind of engine beside the bare library that it wraps, and what eight streams gain."""
    if as_json:
        from gpunode_benchmarks.engines.report import to_engines_json  # noqa: PLC0415 -- keep --help quick
        from gpunode_benchmarks.report import machine_facts  # noqa: PLC0415 -- keep --help quick

        typer.echo(json.dumps(to_engines_json(_bench("engines")(pairs), machine_facts())))
    else:
        _run_and_print("engines", pairs, as_json=False)


def run_overhead(
    as_json: JsonOption = False,
    pairs: Annotated[
        int, typer.Option(min=_FEWEST_OVERHEAD_PAIRS, help="Pairs per ratio: more of them see smaller differences.")
    ] = _FEWEST_OVERHEAD_PAIRS,
    seconds: Annotated[
        int,
        typer.Option(min=_OVERHEAD_S, help="For everything. In more of them answers are longer, as they are in use."),
    ] = _OVERHEAD_S,
) -> None:
    """Measure what SDK, mesh and node add to an engine: first token, throughput, lag, bytes."""
    if as_json:
        from gpunode_benchmarks.overhead_report import to_overhead_json  # noqa: PLC0415 -- keep --help quick
        from gpunode_benchmarks.report import machine_facts  # noqa: PLC0415 -- keep --help quick

        typer.echo(json.dumps(to_overhead_json(_bench("overhead")(pairs, seconds), machine_facts())))
    else:
        _run_and_print("overhead", pairs, seconds, as_json=False)


def run_discovery(as_json: JsonOption = False) -> None:
    """Measure how long a client takes to find a node among 4, 16 and 48."""
    _run_and_print("discovery", as_json=as_json)


def run_memory(as_json: JsonOption = False) -> None:
    """Measure the resident memory of tracker, node and client, with and without their p2pd and engine."""
    _run_and_print("memory", as_json=as_json)


def run_flood(
    as_json: JsonOption = False,
    attacker_nice: Annotated[
        int, typer.Option(min=0, max=19, help="The attacker's niceness: 19 leaves the processor to all others.")
    ] = 19,
) -> None:
    """Measure what honest streams keep of their rate while one peer opens 5,000 idle streams to the node."""
    if as_json:
        from gpunode_benchmarks.flood_report import to_flood_json  # noqa: PLC0415 -- keep --help quick
        from gpunode_benchmarks.report import machine_facts  # noqa: PLC0415 -- keep --help quick

        typer.echo(json.dumps(to_flood_json(_bench("flood")(attacker_nice), machine_facts())))
    else:
        _run_and_print("flood", attacker_nice, as_json=False)


def run_failover(
    as_json: JsonOption = False,
    runs: Annotated[int, typer.Option(min=1, help="Answers whose node is killed.")] = _FAILOVER_RUNS,
) -> None:
    """Measure what a caller notices when the node that answers is killed in the middle of the answer."""
    if as_json:
        from gpunode_benchmarks.failover_report import to_failover_json  # noqa: PLC0415 -- keep --help quick
        from gpunode_benchmarks.report import machine_facts  # noqa: PLC0415 -- keep --help quick

        typer.echo(json.dumps(to_failover_json(_bench("failover")(runs), machine_facts())))
    else:
        _run_and_print("failover", runs, as_json=False)


def run_tracker(as_json: JsonOption = False) -> None:
    """Measure what one tracker process takes: look-ups, jobs out of a long queue, heartbeats, submissions."""
    if as_json:
        from gpunode_benchmarks.report import machine_facts  # noqa: PLC0415 -- keep --help quick
        from gpunode_benchmarks.tracker import report  # noqa: PLC0415 -- keep --help quick

        result: Any = _bench("tracker")()  # with more in it than other benches have
        typer.echo(json.dumps(report.to_tracker_json(result, machine_facts())))
    else:
        _run_and_print("tracker", as_json=False)


def run_routing(
    as_json: JsonOption = False,
    jobs: Annotated[int, typer.Option(min=_FEWEST_ROUTING_JOBS, help="Jobs that are judged.")] = _ROUTING_JOBS,
) -> None:
    """Measure how often clients choose the node that answers soonest, in the network lab. Needs root."""
    if as_json:
        from gpunode_benchmarks.report import machine_facts  # noqa: PLC0415 -- keep --help quick
        from gpunode_benchmarks.routing.report import to_routing_json  # noqa: PLC0415 -- keep --help quick

        typer.echo(json.dumps(to_routing_json(_bench("routing")(jobs), machine_facts())))
    else:
        _run_and_print("routing", jobs, as_json=False)


def _run_all_and_print(*, as_json: bool) -> None:
    """Run all benches that can run here: what the others took minutes for is not lost to one that cannot."""
    results, skipped = [], {}
    for name in BENCHES:
        try:
            results.append(_measured(name))
        except LabUnavailable as error:
            skipped[name] = str(error)
            typer.echo(f"{name} was skipped: {error}", err=True)
    _print(results, as_json=as_json, skipped=skipped)


def _run_and_print(name: str, *arguments: int, as_json: bool) -> None:
    _print([_measured(name, *arguments)], as_json=as_json)


def _measured(name: str, *arguments: int) -> "BenchResult":
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick

    with Console(stderr=True).status(f"measuring: {name}"):
        return _bench(name)(*arguments)


def _print(results: "Sequence[BenchResult]", *, as_json: bool, skipped: Mapping[str, str] | None = None) -> None:
    """Print the results; skipped: reasons by bench, where all were to run."""
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick

    from gpunode_benchmarks.report import machine_facts, to_json, to_tables  # noqa: PLC0415 -- keep --help quick

    if as_json:
        more = {} if skipped is None else {"skipped": dict(skipped)}
        typer.echo(json.dumps(to_json(results, machine_facts()) | more))
    else:
        Console().print(to_tables(results, machine_facts()))


def _bench(name: str) -> "Callable[..., BenchResult]":
    module, _, function = BENCHES[name].partition(":")
    run: Callable[..., BenchResult] = getattr(importlib.import_module(module), function)
    return run
