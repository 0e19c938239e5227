"""How connections are set up: the same promises on both databases."""

from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.engines import Timeouts, create_engine, create_patient_engine
from sqlalchemy import text

from tests.tracker.databases import ON_BOTH, ON_POSTGRESQL, ON_SQLITE

_SETTINGS = ("statement_timeout", "lock_timeout", "jit", "application_name", "transaction_isolation")


@ON_SQLITE
async def test_what_was_committed_is_durable(database: Database) -> None:
    """WAL with a full sync at each commit, and foreign keys, on every connection."""
    async with database.read() as connection:
        pragmas = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


async def _shown(database: Database, *, write: bool = False) -> list[str]:
    async with database.write() if write else database.read() as connection:
        return [str((await connection.execute(text(f"SHOW {name}"))).scalar_one()) for name in _SETTINGS]


@ON_POSTGRESQL
async def test_the_server_knows_the_limits(settings: TrackerSettings) -> None:
    """Readers have one snapshot; writers see what was committed before each statement."""
    database = Database(settings.sqlalchemy_url, Timeouts(lock_s=2, statement_s=3))
    assert await _shown(database) == ["3s", "2s", "off", "gpunode-tracker", "repeatable read"]
    assert await _shown(database, write=True) == ["3s", "2s", "off", "gpunode-tracker", "read committed"]
    await database.close()


@ON_POSTGRESQL
async def test_migrations_have_no_limits(settings: TrackerSettings) -> None:
    """They take as long as there is data."""
    engine = create_patient_engine(settings.sqlalchemy_url, Timeouts())
    async with engine.connect() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert (await connection.execute(text(f"SHOW {name}"))).scalar_one() == "0"
    await engine.dispose()


def test_the_password_is_nowhere_in_the_engine() -> None:
    """What prints an engine, or an error of it, cannot print that."""
    engine = create_engine("postgresql+asyncpg://u:hunter2@h/d", Timeouts())
    assert "hunter2" not in repr(engine) + str(engine.url) + repr(engine.url) + repr(engine.pool)


@ON_BOTH
async def test_a_connection_is_used_again(database: Database) -> None:
    """Opening one costs more than most of what is asked."""
    engine = database._engine
    for _ in range(5):
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # -- of queue pools only
