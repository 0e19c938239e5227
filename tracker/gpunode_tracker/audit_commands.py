"""``gpunode tracker audit``: who did what."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker.command_running import AsJson, DataDir, run, show_list

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration

_HOUR_S = 3600


def register(commands: typer.Typer) -> None:
    """Add the command to the group."""
    commands.command("audit")(audit)


def audit(
    actor: Annotated[str | None, typer.Option(help="Who: operator, key:ID, node:PEER, worker:ID.")] = None,
    action: Annotated[str | None, typer.Option(help="What, such as key_created or banned.")] = None,
    subject: Annotated[str | None, typer.Option(help="To what, such as account:ID.")] = None,
    hours: Annotated[int | None, typer.Option(help="Only those of the last hours.", min=1)] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries of the audit log, newest first."""

    async def act(admin: "Administration") -> list[dict[str, Any]]:
        from gpunode_protocol.validation import MAX_INT64  # noqa: PLC0415 -- --help stays light

        from gpunode_tracker.storage.audit import AuditFilter, newest_records  # noqa: PLC0415 -- as above

        since = None if hours is None else int(admin.clock()) - hours * _HOUR_S
        wanted = AuditFilter(actor=actor, action=action, subject=subject, since=since)
        async with admin.database.read() as connection:
            records = await newest_records(connection, wanted, before_id=MAX_INT64, limit=limit)
        return [vars(record) | {"detail": dict(record.detail)} for record in records]

    none = "The audit log has no such entries."
    show_list("entries", run(data_dir, act), as_json, none=none, given_up=("id", "address", "actor"))
