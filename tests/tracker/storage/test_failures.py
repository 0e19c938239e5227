"""What a driver's failure means for whoever asked."""

import sqlite3

import pytest
from asyncpg.exceptions import ClientConfigurationError
from gpunode_tracker.errors import InvalidRequest, InvalidSettings, StorageDamaged, StorageUnavailable
from gpunode_tracker.storage.failures import AFTER_RESTART_S, SOON_S, WHEN_REPAIRED_S, connect_failure_of, failure_of
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout


def _postgres(sqlstate: str | None, text: str = "secret words", cause: Exception | None = None) -> DBAPIError:
    """Return what SQLAlchemy makes of a failure of PostgreSQL; cause: what the driver raised."""
    orig = AsyncAdapt_asyncpg_dbapi.Error(text)
    orig.sqlstate = orig.pgcode = sqlstate
    orig.__cause__ = cause
    return DBAPIError("SELECT 1", None, orig)


@pytest.mark.parametrize(
    ("sqlstate", "retry_after_s"),
    [
        ("40001", SOON_S),  # serialization_failure
        ("40P01", SOON_S),  # deadlock_detected
        ("55P03", SOON_S),  # lock_not_available
        ("57014", SOON_S),  # query_canceled, by the statement timeout
        ("53300", SOON_S),  # too_many_connections
        ("53100", WHEN_REPAIRED_S),  # disk_full
        ("58030", WHEN_REPAIRED_S),  # io_error
        ("28P01", WHEN_REPAIRED_S),  # invalid_password
        ("3D000", WHEN_REPAIRED_S),  # invalid_catalog_name
        ("25006", AFTER_RESTART_S),  # read_only_sql_transaction, of a standby
        ("57P01", AFTER_RESTART_S),  # admin_shutdown
        ("57P03", AFTER_RESTART_S),  # cannot_connect_now
        ("08003", AFTER_RESTART_S),  # connection_does_not_exist
        ("XX000", AFTER_RESTART_S),  # internal_error
        (None, AFTER_RESTART_S),  # the driver's own
    ],
)
def test_postgresql_says_when_to_come_again(sqlstate: str | None, retry_after_s: int) -> None:
    """By the SQLSTATE; its words stay inside."""
    failure = failure_of(_postgres(sqlstate))
    assert isinstance(failure, StorageUnavailable)
    assert failure.retry_after_s == retry_after_s
    assert "secret words" not in str(failure)


@pytest.mark.parametrize("sqlstate", ["42P01", "42601", "0A000", "21000"])
def test_bugs_pass(sqlstate: str) -> None:
    """A table that is not there, or a statement that makes no sense, is no passing failure."""
    assert failure_of(_postgres(sqlstate)) is None


def test_broken_constraints_pass() -> None:
    """They are caught where they are expected, or are bugs."""
    assert failure_of(IntegrityError("INSERT", None, sqlite3.IntegrityError("UNIQUE"))) is None


@pytest.mark.parametrize(
    "error",
    [
        _postgres("22021"),  # character_not_in_repertoire: NUL
        _postgres("22003"),  # numeric_value_out_of_range
        _postgres(None, cause=ValueError("value out of int64 range")),
    ],
)
def test_a_value_that_cannot_be_held_is_the_callers_mistake(error: DBAPIError) -> None:
    """Coming again would not help."""
    assert isinstance(failure_of(error), InvalidRequest)


def _sqlite(text: str, code: int) -> DBAPIError:
    orig = sqlite3.DatabaseError(text)
    orig.sqlite_errorcode = code
    return DBAPIError("SELECT 1", None, orig)


@pytest.mark.parametrize(
    "error",
    [
        _sqlite("file is not a database", sqlite3.SQLITE_NOTADB),
        _sqlite("database disk image is malformed", sqlite3.SQLITE_CORRUPT),
        _sqlite("database disk image is malformed", sqlite3.SQLITE_CORRUPT_INDEX),
        _postgres("XX001"),  # data_corrupted
        _postgres("XX002"),  # index_corrupted
    ],
)
def test_damage_is_said_to_be_some(error: DBAPIError) -> None:
    """Coming again helps only when the operator has done something."""
    failure = failure_of(error)
    assert isinstance(failure, StorageDamaged)
    assert failure.retry_after_s == WHEN_REPAIRED_S
    assert "its operator has to repair it" in str(failure)
    assert "secret words" not in str(failure)


@pytest.mark.parametrize(
    ("text", "retry_after_s"), [("database is locked", SOON_S), ("database or disk is full", WHEN_REPAIRED_S)]
)
def test_sqlite_says_why(text: str, retry_after_s: int) -> None:
    """Its words name nothing secret."""
    failure = failure_of(OperationalError("INSERT", None, sqlite3.OperationalError(text)))
    assert isinstance(failure, StorageUnavailable)
    assert failure.retry_after_s == retry_after_s
    assert text in str(failure)


def test_a_lost_connection_leaves_open_what_was_written() -> None:
    """It may have been lost after the server committed; after all else nothing was changed."""
    assert "Nothing was changed" not in str(failure_of(_postgres("08003")))
    assert "Nothing was changed" in str(failure_of(_postgres("40P01")))


def test_what_has_no_words() -> None:
    """Silence beyond the limit, and no connection that is free."""
    for error, retry_after_s in ((TimeoutError(), AFTER_RESTART_S), (PoolTimeout("QueuePool limit"), SOON_S)):
        failure = failure_of(error)
        assert isinstance(failure, StorageUnavailable)
        assert failure.retry_after_s == retry_after_s


def test_others_exceptions_pass() -> None:
    """Inside of a transaction also files are read."""
    for error in (OSError("no such file"), ValueError(), RuntimeError()):
        assert failure_of(error) is None


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), FileNotFoundError(), TimeoutError(), _postgres("57P03"), _postgres("53300")]
)
def test_no_connection(error: Exception) -> None:
    """The server is away, is starting, or has too many clients."""
    assert isinstance(connect_failure_of(error), StorageUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("invalid literal for int() with base 10: 'hunter2'"),
        _postgres("42704"),  # an unknown setting behind the URL's question mark
        _postgres(None, cause=ClientConfigurationError("hunter2")),
    ],
)
def test_a_url_that_leads_nowhere(error: Exception) -> None:
    """That is a setting, and no reason to come again; it is not repeated."""
    failure = connect_failure_of(error)
    assert isinstance(failure, InvalidSettings)
    assert "hunter2" not in str(failure)
