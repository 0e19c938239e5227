"""Clients that share a state folder."""

import logging
import stat
from pathlib import Path

import pytest
from gpunode._shared_spending import KEPT_S, SharedSpending

from tests.sdk.test_spending import GRANT


class _Clients:
    """A folder and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.path = folder / "deep" / "grants.db"

    def another(self) -> SharedSpending:
        """Return what one more client counts."""
        return SharedSpending(self.path, clock=lambda: self.now)


@pytest.fixture
def clients(tmp_path: Path) -> _Clients:
    """Nobody has spent anything."""
    return _Clients(tmp_path)


def test_what_others_promise_and_spend_counts(clients: _Clients) -> None:
    """At once, and after they have ended; a grant pays for no more than was reserved."""
    first, second = clients.another(), clients.another()
    first.promise("one", 40)
    assert second.left_microcredits(GRANT) == 60
    second.promise("one", 50)
    assert first.left_microcredits(GRANT) == 10
    first.spend("one", 5)
    first.give_back("one", 40)
    assert [client.left_microcredits(GRANT) for client in (first, second, clients.another())] == [45] * 3


def test_the_file_is_private_and_forgets(clients: _Clients) -> None:
    """Grants live for an hour."""
    spending = clients.another()
    spending.spend("one", 70)
    assert stat.S_IMODE(clients.path.stat().st_mode) == 0o600
    clients.now += KEPT_S + 1
    spending.spend("two", 1)
    assert clients.another().left_microcredits(GRANT) == 100


def test_a_damaged_file_is_begun_anew(clients: _Clients, caplog: pytest.LogCaptureFixture) -> None:
    """Meanwhile a client counts for itself."""
    clients.path.parent.mkdir()
    clients.path.write_bytes(b"x" * 4096)
    spending = clients.another()
    with caplog.at_level(logging.WARNING):
        spending.spend("one", 30)
    assert "not shared" in caplog.text
    assert spending.left_microcredits(GRANT) == 70
    spending.spend("one", 30)
    assert clients.another().left_microcredits(GRANT) == 70


def test_a_folder_that_cannot_be_used_is_no_failure(clients: _Clients, caplog: pytest.LogCaptureFixture) -> None:
    """The client counts for itself, and says so once."""
    clients.path.mkdir(parents=True)
    spending = clients.another()
    spending.promise("one", 30)
    assert spending.left_microcredits(GRANT) == 70
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
