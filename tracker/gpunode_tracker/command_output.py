"""How the operator's commands open a data folder, and how they print what they did."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpunode_tracker.administration import Administration, administration
from gpunode_tracker.config import TrackerSettings

T = TypeVar("T")


def run_on_data_folder(given: Mapping[str, Any], act: Callable[[Administration], Awaitable[T]]) -> T:
    """Open the data folder of the settings, act, close it."""

    async def run() -> T:
        async with administration(TrackerSettings.load(given)) as admin:
            return await act(admin)

    return asyncio.run(run())


def show_facts(facts: dict[str, Any], as_json: bool, title: str, hint: str = "") -> None:
    """Print one object, as JSON or as a table for people."""
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), Text(str(value)))
    console = Console()
    console.print(table)
    if hint:
        console.print(hint.format(**facts), highlight=False)
