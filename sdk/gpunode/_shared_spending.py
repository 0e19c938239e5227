"""What clients that share a state folder, at once or one after the other, have promised from the grants in it."""

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from gpunode_protocol.file_place import FilePlace
from gpunode_protocol.grants import Grant

from gpunode._spending import Spending

T = TypeVar("T")

_log = logging.getLogger(__name__)

KEPT_S: Final = 4 * 3600.0
"""A grant lives for an hour at most."""
_PATIENCE_S: Final = 0.1
"""Whoever writes holds the file for less than a millisecond; nobody waits for a process that was stopped just then."""
_PRIVATE_FILE: Final = 0o600

_PRAGMAS: Final = ("PRAGMA synchronous = OFF", "PRAGMA journal_mode = MEMORY")
"""What a power cut, or a kill in the middle, leaves half written is begun anew."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS booked (jti TEXT PRIMARY KEY, microcredits INTEGER, at REAL) WITHOUT ROWID"
_ADD: Final = """
INSERT INTO booked VALUES (:jti, :microcredits, :at)
ON CONFLICT (jti) DO UPDATE SET microcredits = microcredits + excluded.microcredits, at = excluded.at
"""
_FORGET: Final = "DELETE FROM booked WHERE at < ?"
_TOTAL: Final = "SELECT microcredits FROM booked WHERE jti = ?"


class _Opened(NamedTuple):
    book: sqlite3.Connection
    place: FilePlace


class SharedSpending(Spending):
    """``Spending`` that counts others' promises too. What a client that was killed had promised stays promised.

    Where the file cannot be used this client counts for itself.

    Args:
        path: an SQLite file, made when it is needed; a damaged one is begun anew.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._path = path
        self._clock = clock
        self._has_warned = False
        self._opened: _Opened | None = None

    def left_microcredits(self, grant: Grant) -> int:
        """Return what an open grant has left for one more job of any client, may be < 0."""
        left = super().left_microcredits(grant)
        row = self._in_book(lambda book: book.execute(_TOTAL, (grant.jti,)).fetchone())
        return left if row is None else min(left, (grant.cap.open or 0) - int(row[0]))

    def promise(self, jti: str, microcredits: int) -> None:
        """A job begins that may cost this much."""
        super().promise(jti, microcredits)
        self._add(jti, microcredits)

    def give_back(self, jti: str, microcredits: int) -> None:
        """It is over, and what it did cost was counted."""
        super().give_back(jti, microcredits)
        self._add(jti, -microcredits)

    def spend(self, jti: str, microcredits: int) -> None:
        """A voucher for this much was signed, a node's last one."""
        super().spend(jti, microcredits)
        self._add(jti, microcredits)

    def _add(self, jti: str, microcredits: int) -> None:
        now = self._clock()

        def add(book: sqlite3.Connection) -> None:
            with book:
                book.execute(_ADD, {"jti": jti, "microcredits": microcredits, "at": now})
                book.execute(_FORGET, (now - KEPT_S,))

        if microcredits:
            self._in_book(add)

    def _in_book(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do some work with the file and return what that returns; None where it cannot be used."""
        try:
            return work(self._book())
        except (OSError, sqlite3.Error) as error:
            self._close()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._path.unlink(missing_ok=True)
            level, self._has_warned = logging.DEBUG if self._has_warned else logging.WARNING, True
            _log.log(level, "what grants have cost is not shared: %s", error, extra={"event": "spending_not_shared"})
            return None

    def _book(self) -> sqlite3.Connection:
        """Return the open file: opening it would cost each job a part of a millisecond."""
        if self._opened is not None and not self._opened.place.is_lost():
            return self._opened.book
        self._close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, _PRIVATE_FILE))
        place = FilePlace(self._path)
        # Calls come one at a time, but a synchronous client makes and closes them in threads of its own.
        self._opened = _Opened(sqlite3.connect(self._path, timeout=_PATIENCE_S, check_same_thread=False), place)
        for pragma in _PRAGMAS:
            self._opened.book.execute(pragma)
        self._opened.book.execute(_TABLE)
        return self._opened.book

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.book.close()
            self._opened = None
