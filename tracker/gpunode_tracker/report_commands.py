"""``gpunode tracker reports``: of which nodes clients complain."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker.command_running import AsJson, DataDir, run, show_list

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration

_HOUR_S = 3600


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("reports")(reports)


def reports(
    node: Annotated[str | None, typer.Option(help="Only on this node, by its peer id.")] = None,
    hours: Annotated[int | None, typer.Option(help="Only those of the last hours.", min=1)] = None,
    limit: Annotated[int, typer.Option(help="How many lines at most.", min=1, max=10_000)] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Count what clients reported of nodes, by node and reason, those with the newest report first.

    accounts: how many reported it. One alone may be wrong, or lie.
    """

    async def act(admin: "Administration") -> list[dict[str, Any]]:
        from gpunode_tracker.storage.reports import count_reports  # noqa: PLC0415 -- --help stays light

        since = None if hours is None else int(admin.clock()) - hours * _HOUR_S
        async with admin.database.read() as connection:
            return [vars(each) for each in await count_reports(connection, node=node, since=since, limit=limit)]

    show_list("reports", run(data_dir, act), as_json, none="There are no such reports.", given_up=("first_at",))
