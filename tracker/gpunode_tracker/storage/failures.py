"""What the drivers' failures mean for whoever asked: try again soon, later, or never.

Clients hear of the kind of failure only. What the driver said may name hosts and users, and stands in the log.
"""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gpunode_tracker.errors import InvalidRequest, InvalidSettings, StorageDamaged, StorageUnavailable, TrackerError

SOON_S: Final = 1
"""Another transaction was in the way."""
AFTER_RESTART_S: Final = 5
"""The database is away or restarts: a guess at how long."""
WHEN_REPAIRED_S: Final = 30
"""Somebody has to make room."""

#: SQLSTATE of PostgreSQL, whole or its class of two characters (appendix A of its manual): the wait and the words.
_POSTGRES: Final[dict[str, tuple[int, str]]] = {
    "40": (SOON_S, "other transactions were in the way"),
    "55P03": (SOON_S, "other transactions were in the way"),
    "57014": (SOON_S, "it took too long"),
    "25P03": (SOON_S, "it took too long"),
    "53300": (SOON_S, "it has no free connection"),
    "53": (WHEN_REPAIRED_S, "it is out of room"),
    "58": (WHEN_REPAIRED_S, "its disk fails"),
    "28": (WHEN_REPAIRED_S, "it does not let the tracker in"),
    "3D": (WHEN_REPAIRED_S, "it has no such database"),
    "25006": (AFTER_RESTART_S, "it only lets read"),
}
_AWAY: Final = (AFTER_RESTART_S, "it does not answer")
_BAD_VALUES: Final = "22"
"""Class of SQLSTATE: data exceptions."""
_BUGS: Final = frozenset({"0A", "21", "42"})
"""Classes of SQLSTATE: what the server does not support or understand was ours to know."""


_DAMAGED_SQLITE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY_CODE: Final = 0xFF
"""Of SQLite's codes; what is above says more exactly what it was."""
_DAMAGED_POSTGRES: Final = {"XX001": "its data is corrupted", "XX002": "an index of it is corrupted"}


def failure_of(error: BaseException) -> TrackerError | None:
    """Return what an exception out of a transaction means; None: it is a bug, or not the database's."""
    if isinstance(error, PoolTimeout):
        return _unavailable(SOON_S, "all its connections are in use")
    if isinstance(error, TimeoutError):
        return _unavailable(*_AWAY)
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_failure(error.orig)
    return _postgres_failure(error.orig)


def connect_failure_of(error: BaseException) -> TrackerError | None:
    """Return what an exception means that came instead of a connection; None: it is not the database's."""
    if isinstance(error, OSError):  # TimeoutError is one
        return _unavailable(*_AWAY)
    orig = error.orig if isinstance(error, DBAPIError) else error
    if _is_refused_by_driver(orig) or _state_of(orig)[:2] == "42":
        return InvalidSettings("The database URL cannot be used: check its host, its port and what stands behind '?'.")
    return failure_of(error)


def _sqlite_failure(error: sqlite3.Error) -> StorageUnavailable:
    text, code = str(error), getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & _PRIMARY_CODE in _DAMAGED_SQLITE:
        return _damaged(text)
    busy = "locked" in text or "busy" in text
    return _unavailable(SOON_S if busy else WHEN_REPAIRED_S, text)


def _postgres_failure(orig: BaseException | None) -> TrackerError | None:
    state = _state_of(orig)
    if state[:2] == _BAD_VALUES or _is_refused_by_driver(orig):
        return InvalidRequest(
            "The database cannot hold one of these values: a NUL character, or a number beyond 64 bits."
        )
    if state[:2] in _BUGS:
        return None
    if state in _DAMAGED_POSTGRES:
        return _damaged(_DAMAGED_POSTGRES[state])
    return _unavailable(*(_POSTGRES.get(state) or _POSTGRES.get(state[:2]) or _AWAY))


def _is_refused_by_driver(error: BaseException | None) -> bool:
    """Return whether the driver did not even ask the server: what it cannot read or send it calls a ValueError too."""
    return isinstance(error, ValueError) or (error is not None and isinstance(error.__cause__, ValueError))


def _state_of(orig: BaseException | None) -> str:
    """Return the SQLSTATE of a failure, empty if the server said none."""
    return getattr(orig, "sqlstate", None) or ""


def _damaged(why: str) -> StorageDamaged:
    return StorageDamaged(
        f"The tracker's database is damaged ({why}). Nothing was changed; its operator has to repair it, or to "
        "restore a backup.",
        retry_after_s=WHEN_REPAIRED_S,
    )


def _unavailable(retry_after_s: int, why: str) -> StorageUnavailable:
    # a connection that is lost at the end of a transaction leaves open whether it was written
    outcome = "" if why == _AWAY[1] else "Nothing was changed; "
    text = f"{outcome}send it again later."
    return StorageUnavailable(
        f"The tracker's database cannot be used now ({why}). {text[0].upper()}{text[1:]}", retry_after_s=retry_after_s
    )
