"""A real PostgreSQL for tests: a cluster of their own, which Debian's package postgresql suffices for."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tracker.servers import Server, unprivileged_user

_DEBIAN_FOLDER = Path("/usr/lib/postgresql")
_USER = "gpunode"
_NEW_OPTIONS_VERSION = 15
"""Since this version initdb knows ICU's orders, and databases can be copied in two ways, of which one is quick here."""
_CONNECTIONS = 200
_OPTIONS = {
    "fsync": "off",  # nothing here outlives the test, so nothing waits for a disk
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # tests that look at query plans gather their own statistics
    "listen_addresses": "",
    "max_connections": str(_CONNECTIONS),
    "shared_buffers": "64MB",
    "max_wal_size": "128MB",
    "deadlock_timeout": "50ms",
}

NO_POSTGRES = "PostgreSQL's programs are not installed (Debian: apt-get install postgresql)"


def find_binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs, of the newest version; None: they are not installed."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).resolve().parent
    folders = [path.parent for path in _DEBIAN_FOLDER.glob("*/bin/postgres")]
    return max(folders, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), default=None)


class Postgres(Server):
    """One cluster, reached by a Unix socket, with as many databases as tests want."""

    user = unprivileged_user("postgres", "nobody")  # PostgreSQL refuses to run as root

    def __init__(self, binaries: Path) -> None:
        """Make the cluster; it does not run yet."""
        super().__init__()
        self._binaries = binaries
        self._numbers = itertools.count()
        self._data = self.folder / "data"
        arguments = ["--pgdata", self._data, "--username", _USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
        # an order of text that differs from that of bytes, as on most servers of operators
        is_new = self._version() >= _NEW_OPTIONS_VERSION
        locale = ["--locale-provider", "icu", "--icu-locale", "en-US"] if is_new else []
        self._copying = "STRATEGY FILE_COPY" if is_new else ""
        subprocess.run(
            [binaries / "initdb", *arguments, "--locale", "C", *locale],
            check=True,
            capture_output=True,
            env={"LC_ALL": "C", "PATH": os.defpath},
            **self.as_user(),
        )

    def _version(self) -> int:
        shown = subprocess.run([self._binaries / "postgres", "--version"], check=True, capture_output=True, text=True)
        return int(re.findall(r"\d+", shown.stdout)[0])

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        settings = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        return [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self.folder), *settings]

    def answers(self) -> bool:
        """Return whether it serves."""
        asked = [self._binaries / "pg_isready", "--quiet", "--host", self.folder, "--timeout", "5"]
        return subprocess.run(asked, check=False).returncode == 0

    def url(self, database: str) -> str:
        """Return the URL of a database, as an operator writes it."""
        return f"postgresql://{_USER}@/{database}?host={self.folder}"

    def create_database(self, name: str, template: str = "template1") -> None:
        """Make a database as a copy of another one."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {self._copying}')

    def end_connections(self, database: str) -> None:
        """End every connection to a database, as a restart would."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement and return what it gave, as psql prints it without decoration."""
        asked = [self._binaries / "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        where = ["--host", self.folder, "--username", _USER, "--dbname", database]
        ran = subprocess.run([*asked, *where, "--command", statement], check=True, capture_output=True, text=True)
        return ran.stdout.strip()

    @contextmanager
    def new_database(self, template: str = "template1") -> Iterator[str]:
        """Yield the URL of a new database, which is removed at the end."""
        name = f"test_{next(self._numbers)}"
        self.create_database(name, template)
        try:
            yield self.url(name)
        finally:
            self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
