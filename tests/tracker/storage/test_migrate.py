"""Migrations lead to exactly the schema of ``tables``."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from gpunode_tracker.errors import DatabaseTooNew
from gpunode_tracker.storage import migrate
from gpunode_tracker.storage.tables import metadata
from gpunode_tracker.tracker import Tracker
from sqlalchemy import Connection, create_engine, text

from tests.tracker.databases import ON_BOTH


def _difference(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [change for change in compare_metadata(context, metadata) if "alembic_version" not in str(change)]


@ON_BOTH
async def test_schema_equals_migrations(tracker: Tracker) -> None:
    """A database that was migrated lacks nothing and has nothing else."""
    async with tracker.database.read() as connection:
        assert await connection.run_sync(_difference) == []


def test_the_newest_revision_is_alembics() -> None:
    """The number in the file's name is the revision, in one line without branches."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.newest_revision()]


def test_alembic_is_silent_from_its_import_on(tmp_path: Path) -> None:
    """The first start's log has the tracker's own line, and none of alembic's plugins."""
    code = (
        "import logging, sqlalchemy\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "from gpunode_tracker.storage import migrate\n"
        f"with sqlalchemy.create_engine('sqlite:///{tmp_path / 'x.db'}').begin() as connection:\n"
        "    migrate.upgrade(connection)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    (line,) = ran.stderr.splitlines()
    assert "schema is at" in line


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    """The second start finds everything in place."""
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    for _ in range(2):
        with engine.begin() as connection:
            migrate.upgrade(connection)
    with engine.connect() as connection:
        assert _difference(connection) == []
    engine.dispose()


def test_a_database_of_a_later_version(tmp_path: Path) -> None:
    """An older tracker says which revision it finds, and leaves everything as it is."""
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.begin() as connection:
        migrate.upgrade(connection)
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match=r"9999.*newer"), engine.begin() as connection:
        migrate.upgrade(connection)
    with engine.connect() as connection:
        assert migrate.present_revision(connection) == "9999"
        assert _difference(connection) == []
    engine.dispose()
