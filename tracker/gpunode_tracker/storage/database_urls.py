"""Where the database is, as operators write it and as the driver wants it. No message repeats a URL: it is secret."""

from typing import Final
from urllib.parse import urlsplit

from gpunode_tracker.errors import InvalidSettings

POSTGRESQL: Final = "postgresql+asyncpg"
SQLITE: Final = "sqlite+aiosqlite"
_DRIVERS: Final = {
    "postgres": POSTGRESQL,
    "postgresql": POSTGRESQL,
    POSTGRESQL: POSTGRESQL,
    "sqlite": SQLITE,
    SQLITE: SQLITE,
}


def driver_url(url: str) -> str:
    """Return the URL with the scheme that names the driver.

    Raises:
        InvalidSettings: another kind of database, or a URL that cannot be read.
    """
    scheme, separator, rest = url.strip().partition("://")
    driver = _DRIVERS.get(scheme)
    if driver is None or not separator:
        raise InvalidSettings(
            "The database URL is neither postgresql://USER:PASSWORD@HOST/DATABASE nor sqlite+aiosqlite:///FILE: the "
            "tracker keeps its data in one of these two."
        )
    if driver == POSTGRESQL:
        _check(rest)
    return f"{driver}://{rest}"


def is_postgresql(url: str) -> bool:
    """Return whether a driver URL leads to PostgreSQL."""
    return url.startswith(f"{POSTGRESQL}://")


def libpq_url(url: str) -> str:
    """Return a driver URL of PostgreSQL as libpq, and asyncpg after it, reads it."""
    return f"postgresql://{url.partition('://')[2]}"


def _check(rest: str) -> None:
    """Find out now what the driver would only say at the first connection, in words that hold pieces of the URL."""
    try:
        place = urlsplit(f"//{rest}")
        several_hosts = "," in place.netloc  # of which urlsplit knows nothing
        readable = several_hosts or place.port is None or place.port > 0
    except ValueError:
        readable = False
    if not readable:
        raise InvalidSettings(
            "The database URL has no readable host and port. In the password, / ? # @ and % are written %2F %3F %23 "
            "%40 and %25."
        )
