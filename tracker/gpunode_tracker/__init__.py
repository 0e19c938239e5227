"""The tracker: accounts, region index, ledger, and the mesh's bootstrap peer."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Returns the time in Unix seconds; passed in everywhere so that tests can turn it."""
