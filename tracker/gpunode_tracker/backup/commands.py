"""``gpunode tracker backup`` and ``restore``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpunode_tracker.command_running import AsJson, DataDir, run, show

if TYPE_CHECKING:
    from gpunode_tracker.administration import Administration

DatabaseUrl = Annotated[str | None, typer.Option(help="Database URL; default SQLite in --data-dir.")]


def register(commands: typer.Typer) -> None:
    """Add the commands to the group."""
    commands.command("backup")(backup)
    commands.command("restore")(restore)


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A new file, or the folder that it goes into.")],
    with_root_key: Annotated[
        bool, typer.Option("--with-root-key", help="Put the root key into it too, if it is in the data folder.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write database and keys into one file, while the tracker runs or not. Whoever has the file has the tracker."""
    from gpunode_tracker.backup.backing_up import back_up  # noqa: PLC0415 -- --help stays light

    async def act(admin: "Administration") -> dict[str, Any]:
        return await back_up(admin, target, with_root_key=with_root_key)

    facts = run(data_dir, act, database_url=database_url)
    root_key = "in it: keep it offline" if facts["has_root_key"] else "not in it: keep a copy of it offline"
    show(facts, as_json, "Backup", hint=f"The root key is {root_key}. Note the SHA-256 elsewhere:\n{{sha256}}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'gpunode tracker backup' wrote.")],
    sha256: Annotated[str | None, typer.Option(help="What was noted of it: the file must have this digest.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty data folder and database; the ledger goes on in a new log that says so."""
    import asyncio  # noqa: PLC0415 -- as above
    import time  # noqa: PLC0415 -- as above

    from gpunode_tracker.backup.restoring import restore as restore_archive  # noqa: PLC0415 -- as above
    from gpunode_tracker.config import TrackerSettings  # noqa: PLC0415 -- as above

    settings = TrackerSettings.load({"data_dir": data_dir, "database_url": database_url})
    facts = asyncio.run(restore_archive(settings, file, time.time, sha256=sha256))
    database = "" if settings.database_url is None else " and the same database URL"
    show(facts, as_json, "Restored", hint=f"Start it with: gpunode tracker start --data-dir {{data_dir}}{database}")
