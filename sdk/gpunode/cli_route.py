"""``gpunode route``: which node would get a job now, and why."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gpunode.cli_limits import LimitSettings, WithinOption, takes_limits
from gpunode.cli_options import (
    ApiKeyFileOption,
    CaFileOption,
    InsecureOption,
    JsonOption,
    RegionOption,
    StateDirOption,
    TrackerOption,
    open_client,
)
from gpunode.home_words import home_in_words
from gpunode.terminal_table import Column, fitting_table
from gpunode.terminal_text import milliseconds, printable, short_id

if TYPE_CHECKING:
    from rich.table import Table

    from gpunode.routing import RouteCandidate, RouteExplanation

HEADINGS: Final = {
    "rtt": "RTT",
    "queue": "queue",
    "model_load": "load",
    "prefill": "read",
    "decode": "write",
    "sharing": "beside",
    "relayed": "relay",
    "failures": "failures",
    "silence": "silence",
    "unknown_speed": "speed?",
}
"""Of the terms' columns."""
_LEAST_OF_WHY: Final = 16
_ALWAYS_SHOWN: Final = frozenset({"rtt", "queue", "prefill", "decode"})


@takes_limits
def route(  # noqa: PLR0913 -- one parameter an option
    *,
    model: Annotated[str | None, typer.Option(help="As in chat; the network's default if left out.")] = None,
    task: Annotated[str, typer.Option(help="llm, image_gen, whisper or embedding.")] = "llm",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every candidate, its terms, and why it lost.")
    ] = False,
    input_units: Annotated[
        int | None, typer.Option("--input", help="Size of the input: tokens of text; 256 if left out.")
    ] = None,
    output_units: Annotated[
        int | None, typer.Option("--output", help="Of the output: tokens, image units, ms of audio; 256 if left out.")
    ] = None,
    within: WithinOption = None,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
    limits: LimitSettings,
) -> None:
    """Tell which node would get a job now; sends probes and nothing else. --json prints all that --explain shows."""
    with open_client(
        tracker,
        api_key_file,
        ca_file=ca_file,
        insecure=insecure,
        state_dir=state_dir,
        region=region,
        limits=limits,
    ) as client:
        told = client.explain(model=model, task=task, region=within, input_units=input_units, output_units=output_units)
    if as_json:
        typer.echo(json.dumps(explanation_as_json(told)))
    elif explain:
        from rich.console import Console  # noqa: PLC0415 -- --help stays light

        console = Console()
        console.print(table_of(told, console.width))
        typer.echo(home_in_words(told.home, told.home_from))
        for reason, count in told.excluded.items():
            typer.echo(printable(f"{count} x {reason}"))
    else:
        typer.echo(summary(told))


def summary(told: "RouteExplanation") -> str:
    """Return one line about the chosen node."""
    best = told.chosen
    where = f"{best.region} (doubtful by measured round trips)" if best.place_doubtful else best.region
    others = len(told.candidates) - 1
    return printable(
        f"{best.node} in {where} serves {best.model}: {milliseconds(best.cost_ms)} to the whole answer, "
        f"{milliseconds(best.terms.rtt_ms)} away, {best.path}, found by {best.source}; best of {others + 1}. "
        f"--explain shows why."
    )


def table_of(told: "RouteExplanation", width: int) -> "Table":
    """Return the candidates as a table of at most ``width`` characters: milliseconds, best first."""
    shown = [
        name
        for name in HEADINGS
        if name in _ALWAYS_SHOWN or any(item.terms.by_name()[name] >= 1 for item in told.candidates)
    ]
    columns = [
        Column("node"),
        Column("region", drop=3),
        Column("total", is_number=True),
        *(Column(HEADINGS[name], is_number=True) for name in shown),
        Column("speed", drop=1),
        Column("jobs", drop=2, is_number=True),
        Column("why", wraps=True, least=_LEAST_OF_WHY),
    ]
    title = f"{told.model or told.task}, {told.input_units} in and {told.output_units} out: expected milliseconds"
    return fitting_table(columns, [_cells(item, shown) for item in told.candidates], width=width, title=title)


def _cells(item: "RouteCandidate", shown: list[str]) -> tuple[str, ...]:
    terms = item.terms.by_name()
    rtt = "?" if item.rtt_from == "unknown" else f"{item.terms.rtt_ms:.1f}"
    return (
        short_id(item.node),
        item.region,
        f"{item.cost_ms:.0f}",
        *(rtt if name == "rtt" else f"{terms[name]:.0f}" for name in shown),
        f"{item.tokens_per_s:.0f}/s {item.speed_from}",
        "-" if item.active is None else f"{item.active}+{item.queued}/{item.slots}",
        item.why,
    )


def explanation_as_json(told: "RouteExplanation") -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    return {
        "task": told.task,
        "model": told.model,
        "input_units": told.input_units,
        "output_units": told.output_units,
        "home": told.home,
        "home_from": told.home_from,
        "chosen": told.chosen.node,
        "candidates": [_candidate_as_json(item) for item in told.candidates],
        "excluded": dict(told.excluded),
    }


def _candidate_as_json(item: "RouteCandidate") -> dict[str, Any]:
    facts = asdict(item)
    terms = {name: round(value, 3) for name, value in facts.pop("terms").items()}
    return {"node_id": facts.pop("node"), **facts, "cost_ms": round(item.cost_ms, 3), "terms": terms}
