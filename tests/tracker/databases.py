"""On which databases a test runs: ``pytestmark = ON_BOTH`` for a whole module, or as a decorator.

A test takes part by a fixture that opens a database (``settings``, ``tracker``, ``world`` and what builds on them).
"""

import pytest

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

FULL_RUN = [SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.full)]
"""For tests that say nothing: they are about something else, which ``make test-full`` sees on both."""

ON_BOTH = pytest.mark.parametrize("database_kind", [SQLITE, POSTGRESQL], indirect=True)
ON_SQLITE = pytest.mark.parametrize("database_kind", [SQLITE], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database_kind", [POSTGRESQL], indirect=True)
