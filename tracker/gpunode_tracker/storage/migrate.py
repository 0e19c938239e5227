"""Running the migrations at start, on an open connection."""

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text

logger = logging.getLogger(__name__)

_SCRIPTS = Path(__file__).parent / "migrations"


def newest_revision() -> str:
    """Return the revision that this version of gpunode needs: the number in the name of the newest script."""
    return max(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*.py"))


def upgrade(connection: Connection, revision: str | None = None) -> None:
    """Bring the schema to a revision, None = up to date, inside the transaction; costs nothing when it is there."""
    wanted = revision or newest_revision()
    if present_revision(connection) == wanted:
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)  # before the import, which logs each of its plugins
    from alembic import command  # noqa: PLC0415 -- slow to import, and needed once in a version's life
    from alembic.config import Config  # noqa: PLC0415 -- as above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, wanted)
    logger.info("The database's schema is at %s now", wanted, extra={"event": "schema_upgraded"})


def present_revision(connection: Connection) -> str | None:
    """Return the revision of a database, None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("select version_num from alembic_version")).scalar()
    return revision
