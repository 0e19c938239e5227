"""Typed keys of the application."""

import pytest
from aiohttp import web
from gpunode_tracker.app_keys import TRACKER


def test_an_application_without_tracker_says_so() -> None:
    """The key's name is in the error."""
    with pytest.raises(KeyError, match="tracker"):
        web.Application()[TRACKER]
