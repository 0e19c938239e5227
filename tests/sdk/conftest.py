"""Fixtures of the client's tests."""

from pathlib import Path

import pytest

from tests.sdk.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A network in memory."""
    return World(tmp_path)
