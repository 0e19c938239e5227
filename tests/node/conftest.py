"""Settings for the node's tests."""

from collections.abc import Iterator

import pytest
import stamina


@pytest.fixture(autouse=True)
def _one_attempt() -> Iterator[None]:
    """Calls to a tracker that is down fail at once instead of being repeated in real time."""
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)
