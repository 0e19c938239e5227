"""``gpunode regions``: who is in which region, how far that is, and where you are."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

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
from gpunode.terminal_text import milliseconds, printable

if TYPE_CHECKING:
    from rich.table import Table

    from gpunode.regions import CallerInfo, CallerUnknown, NetworkRegions, RegionInfo

_LEAST_OF_MODELS: Final = 16
_COLUMNS: Final = (
    Column("region"),
    Column("nodes", is_number=True),
    Column("models", wraps=True, least=_LEAST_OF_MODELS),
    Column("from you", is_number=True),
    Column("RTT", is_number=True),
)
_WHY_UNKNOWN: Final["dict[CallerUnknown, str]"] = {
    "no_public_address": "the tracker sees you at a private address, as in one home network",
    "not_in_database": "the tracker's GeoIP database does not know your address",
    "no_database": "the tracker has no GeoIP database",
}


def regions(
    *,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show nodes and models by region, how far from you, and which region is taken for yours.

    RTT is that to the nearest node which says it is there, as your client measured it within a day.
    """
    with open_client(
        tracker, api_key_file, ca_file=ca_file, insecure=insecure, state_dir=state_dir, region=region
    ) as client:
        told = client.regions()
    if as_json:
        typer.echo(json.dumps(asdict(told)))
        return
    from rich.console import Console  # noqa: PLC0415 -- --help stays light

    console = Console()
    console.print(table_of(told, console.width))
    typer.echo(printable(place_in_words(told)))


def table_of(told: "NetworkRegions", width: int) -> "Table":
    """Return the regions as a table of at most ``width`` characters."""
    count = sum(item.nodes for item in told.regions)
    title = "No live nodes" if not count else "1 node" if count == 1 else f"{count} nodes"
    return fitting_table(_COLUMNS, [_cells(item) for item in told.regions], width=width, title=title)


def _cells(item: "RegionInfo") -> tuple[str, ...]:
    models = sorted(item.models.items(), key=lambda model: (-model[1], model[0]))
    return (
        item.region,
        str(item.nodes),
        ", ".join(f"{name} ({nodes})" for name, nodes in models) or "-",
        "-" if item.distance_km is None else f"{item.distance_km:,} km",
        milliseconds(item.rtt_ms),
    )


def place_in_words(told: "NetworkRegions") -> str:
    """Return which region is taken for the caller's, and if its address does not tell where it is, why."""
    caller = told.caller
    if told.caller_unknown is not None:
        why = f"How far you are is not known: {_WHY_UNKNOWN[told.caller_unknown]}."
    elif caller is None or caller.latitude is None:
        why = "How far you are is not known: of your address the tracker knows no more."
    else:
        within = "" if caller.accuracy_km is None else f", within {caller.accuracy_km:,} km"
        why = f"By the tracker's GeoIP database you are near {_degrees(caller)}{within}."
    return f"{home_in_words(told.home, told.home_from)} {why}"


def _degrees(caller: "CallerInfo") -> str:
    """Return the whole degrees that are known, with the country."""
    south, west = (caller.latitude or 0) < 0, (caller.longitude or 0) < 0
    where = (
        f"{abs(caller.latitude or 0)}° {'S' if south else 'N'}, {abs(caller.longitude or 0)}° {'W' if west else 'E'}"
    )
    return f"{where} ({caller.country})" if caller.country else where
