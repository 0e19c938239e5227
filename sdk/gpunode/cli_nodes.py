"""``gpunode nodes``: who is on the network."""

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gpunode.cli_limits import WithinOption
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
from gpunode.terminal_table import Column, fitting_table
from gpunode.terminal_text import milliseconds, printable, short_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from gpunode.types import NodeInfo

REFRESH_INTERVAL_S: Final = 5.0
DOUBTFUL_MARK: Final = "(?)"

_COLUMNS: Final = (
    Column("node"),
    Column("region"),
    Column("model"),
    Column("device", drop=3),
    Column("speed", is_number=True),
    Column("context", drop=2, is_number=True),
    Column("RTT", is_number=True),
    Column("jobs", drop=5, is_number=True),
    Column("path", drop=4),
    Column("found by", drop=1),
)


def nodes(  # noqa: PLR0913 -- one parameter an option
    *,
    model: Annotated[str | None, typer.Option(help="Only nodes that serve this model.")] = None,
    task: Annotated[str, typer.Option(help="llm, image_gen, whisper or embedding.")] = "llm",
    within: WithinOption = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once instead of keeping it fresh.")] = False,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the live nodes, best first; at a terminal the table stays fresh until Ctrl-C."""
    with open_client(
        tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir, region=region
    ) as client:
        found = client.nodes(model=model, task=task, region=within)
        if as_json:
            typer.echo(json.dumps([node_as_json(node) for node in found]))
            return
        if once or not sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415 -- --help stays light

            console = Console()
            console.print(table_of(found, console.width))
            return
        _keep_fresh(found, lambda: client.nodes(model=model, task=task, region=within))


def _keep_fresh(found: "list[NodeInfo]", ask: "Callable[[], list[NodeInfo]]") -> None:
    """Show the nodes until Ctrl-C; while they cannot be asked for, the last ones stay, with the reason below."""
    from rich.console import Console, Group  # noqa: PLC0415 -- --help stays light
    from rich.live import Live  # noqa: PLC0415 -- as above
    from rich.text import Text  # noqa: PLC0415 -- as above

    from gpunode.errors import GpunodeError  # noqa: PLC0415 -- as above

    console = Console()
    with Live(table_of(found, console.width), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_INTERVAL_S)
            problem = ""
            try:
                found = ask()
            except GpunodeError as error:
                problem = printable(f"Not refreshed: {error}")
            live.update(Group(table_of(found, console.width), Text(problem, style="red")), refresh=True)


def node_as_json(node: "NodeInfo") -> dict[str, Any]:
    """Return a node as the object that ``--json`` prints."""
    facts = asdict(node)
    return {"node_id": facts.pop("node"), **facts}


def table_of(found: "list[NodeInfo]", width: int) -> "Table":
    """Return the nodes as a table of at most ``width`` characters."""
    count = "No live nodes" if not found else "1 node" if len(found) == 1 else f"{len(found)} nodes"
    if any(node.place_doubtful for node in found):
        count += f"; {DOUBTFUL_MARK}: cannot be there, by measured round trips"
    return fitting_table(_COLUMNS, [_cells(node) for node in found], width=width, title=count)


def _cells(node: "NodeInfo") -> tuple[str, ...]:
    return (
        short_id(node.node),
        " ".join(filter(None, (node.region, node.country, DOUBTFUL_MARK if node.place_doubtful else ""))),
        node.model,
        node.gpu,
        node.speed,
        str(node.context),
        milliseconds(node.rtt_ms),
        "-" if node.active is None else f"{node.active}+{node.queued}/{node.slots}",
        node.path,
        node.source,
    )
