"""What operators may write, and that nothing of it is repeated to anybody."""

import pytest
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.storage.database_urls import driver_url, is_postgresql, libpq_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_postgresql_by_any_of_its_names(scheme: str) -> None:
    """Hosting platforms write the short ones."""
    url = driver_url(f" {scheme}://u:p@db.example:5433/gpunode?sslmode=require\n")
    assert url == "postgresql+asyncpg://u:p@db.example:5433/gpunode?sslmode=require"
    assert is_postgresql(url)
    assert libpq_url(url) == "postgresql://u:p@db.example:5433/gpunode?sslmode=require"


@pytest.mark.parametrize(
    "rest",
    ["/d", "u@/d?host=/run/postgresql", "u:p%40%2F@h/d", "u:p@[::1]:5432/d", "u:p@h1:1,h2:2/d?target_session_attrs=rw"],
)
def test_all_that_libpq_reads(rest: str) -> None:
    """Sockets, IPv6, several hosts, escaped passwords."""
    assert driver_url(f"postgresql://{rest}") == f"postgresql+asyncpg://{rest}"


def test_sqlite_with_and_without_its_driver() -> None:
    """A file elsewhere than in the data folder."""
    assert driver_url("sqlite:///x.db") == driver_url("sqlite+aiosqlite:///x.db") == "sqlite+aiosqlite:///x.db"
    assert not is_postgresql("sqlite+aiosqlite:///x.db")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/d",
        "postgresql+psycopg://u:hunter2@h/d",
        "hunter2",
        "postgresql:hunter2",
        "",
        "postgresql://u:hunter2/x@h/d",
        "postgresql://u:p@h:hunter2/d",
        "postgresql://u:p@h:99999/hunter2",
        "postgresql://u:hunter2@[::1/d",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    """Whatever is wrong, a piece of the password may stand where the host should."""
    with pytest.raises(InvalidSettings) as caught:
        driver_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "database URL" in str(caught.value)
