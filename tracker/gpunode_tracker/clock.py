"""The clock, passed in everywhere so that tests can turn it."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Returns the time in Unix seconds."""
