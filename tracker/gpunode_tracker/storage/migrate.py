"""Running the migrations at start, on an open connection."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from gpunode_tracker.errors import DatabaseTooNew

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger(__name__)

_SCRIPTS = Path(__file__).parent / "migrations"


def newest_revision() -> str:
    """Return the revision that this version of gpunode needs: the number in the name of the newest script."""
    return max(_known_revisions())


def _known_revisions() -> set[str]:
    return {path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*.py")}


def upgrade(connection: Connection, revision: str | None = None) -> None:
    """Bring the schema to a revision, None = up to date, inside the transaction; costs nothing when it is there.

    Raises:
        DatabaseTooNew: a revision that this version does not know; nothing was changed.
    """
    wanted = revision or newest_revision()
    present = present_revision(connection)
    if present == wanted:
        return
    if present is not None and present not in _known_revisions():
        raise DatabaseTooNew(
            f"The database's schema is at {present}, and this version of gpunode knows {newest_revision()} at most. "
            "Start a newer version, or restore a backup of before the upgrade."
        )
    config = alembic_config(connection)
    from alembic import command  # noqa: PLC0415 -- slow to import, and needed once in a version's life

    command.upgrade(config, wanted)
    logger.info("The database's schema is at %s now", wanted, extra={"event": "schema_upgraded"})


def alembic_config(connection: Connection) -> "Config":
    """Return what alembic's commands need to work inside the connection's transaction."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # before the import, which logs each of its plugins
    from alembic.config import Config  # noqa: PLC0415 -- as above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config


def present_revision(connection: Connection) -> str | None:
    """Return the revision of a database, None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("select version_num from alembic_version")).scalar()
    return revision
