"""What the operator's commands share: they open the data folder, act, and print what came of it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration

T = TypeVar("T")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Keys and database (GPUNODE_TRACKER_DATA_DIR).")]
AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id, or its name if no other has it.")]
_WRAPPED = {"name", "scopes", "subject", "reason", "detail"}
_SENTENCE_CHARS = {"reason": 24, "detail": 24}
"""Less is no room to read a sentence in: other columns give way."""
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def run(
    data_dir: Path | None, act: Callable[["Administration"], Awaitable[T]], *, database_url: str | None = None
) -> T:
    """Open the data folder, act, close it. database_url: None = as the environment and the file say."""
    import asyncio  # noqa: PLC0415 -- --help stays light

    from gpunode_tracker.administration import administration  # noqa: PLC0415 -- as above
    from gpunode_tracker.config import TrackerSettings  # noqa: PLC0415 -- as above

    async def opened() -> T:
        settings = TrackerSettings.load({"data_dir": data_dir, "database_url": database_url})
        async with administration(settings) as admin:
            return await act(admin)

    return asyncio.run(opened())


def show(facts: dict[str, Any], as_json: bool, title: str, hint: str = "") -> None:
    """Print one object, as JSON or as a table for people."""
    if as_json:
        typer.echo(json.dumps(facts))
        return
    from rich.console import Console  # noqa: PLC0415 -- as above
    from rich.table import Table  # noqa: PLC0415 -- as above
    from rich.text import Text  # noqa: PLC0415 -- as above

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")  # digests and addresses are longer than a line, and of no use when they are cut
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), Text(_cell(name, value)))
    console = Console()
    console.print(table)
    if hint:
        console.print(hint.format(**facts), highlight=False, soft_wrap=True)


def show_list(
    name: str, items: Sequence[dict[str, Any]], as_json: bool, *, none: str, given_up: Sequence[str] = ()
) -> None:
    """Print objects of one kind, as JSON under ``name`` or as a table.

    Args:
        none: what is said when there are none.
        given_up: columns that a narrow terminal does not show, the first one first.
    """
    if as_json:
        typer.echo(json.dumps({name: items}))
        return
    if not items:
        typer.echo(none)
        return
    from gpunode.terminal_table import Column, fitting_table  # noqa: PLC0415 -- as above
    from rich.console import Console  # noqa: PLC0415 -- as above

    columns = [
        Column(
            column.replace("_", " ").removesuffix(" at"),
            drop=given_up.index(column) + 1 if column in given_up else 0,
            wraps=column in _WRAPPED,
            least=_SENTENCE_CHARS.get(column, 0),
        )
        for column in items[0]
    ]
    rows = [[_cell(column, value) for column, value in item.items()] for item in items]
    console = Console()
    console.print(fitting_table(columns, rows, width=console.width))


def _cell(column: str, value: Any) -> str:
    """Return a value for people; instants are in columns whose names end in ``at``, and ``until``."""
    if value is not None and (column in {"at", "until"} or column.endswith("_at")):
        from gpunode_tracker.api_keys import utc_words  # noqa: PLC0415 -- as above

        return utc_words(value)
    return _in_words(value)


def _in_words(value: Any) -> str:
    match value:
        case None:
            return ""
        case list() | tuple():
            return " ".join(str(part) for part in value)
        case dict():
            return " ".join(f"{name}={_in_words(part)}" for name, part in value.items() if part not in (None, "", []))
        case _:
            return str(value)
