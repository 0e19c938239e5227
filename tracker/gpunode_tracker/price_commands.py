"""``gpunode tracker prices``: what work costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker.command_running import AsJson, DataDir, run, show_list

if TYPE_CHECKING:
    from gpunode_protocol.prices import PriceTable

    from gpunode_tracker.administration import Administration


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("prices")(prices)


def prices(
    file: Annotated[
        Path | None, typer.Option("--set", help="Publish this file (.toml or .json): tables 'tasks' and 'models'.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the prices in force, or publish new ones: jobs are paid by those of their grant."""

    async def act(admin: "Administration") -> "PriceTable":
        if file is None:
            return await admin.prices.in_force()
        from gpunode_tracker.price_files import read_price_file  # noqa: PLC0415 -- --help stays light

        tasks, models = read_price_file(file)
        return await admin.prices.publish(tasks, models)

    table = run(data_dir, act)
    if as_json:
        typer.echo(table.model_dump_json())
    else:
        typer.echo(f"Version {table.version}, in micro-credits (1 credit = 1,000,000):")
        show_list("prices", _rows(table), as_json, none="There are no prices.")


def _rows(table: "PriceTable") -> list[dict[str, Any]]:
    given = [("task", name, price) for name, price in table.tasks.items()]
    given += [("model", name, price) for name, price in table.models.items()]
    return [
        {"of": kind, "name": name, "input": price.input_microcredits, "output": price.output_microcredits}
        for kind, name, price in given
    ]
