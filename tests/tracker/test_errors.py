"""Errors speak to the one who reads them."""

from gpunode_protocol.errors import GpunodeError
from gpunode_tracker import errors


def test_insufficient_credits_says_balance_and_next_step() -> None:
    """The message holds both amounts in credits and what to do."""
    error = errors.InsufficientCredits(balance_microcredits=1_500_000, wanted_microcredits=20_000_000)
    assert "1.500000" in str(error)
    assert "20.000000" in str(error)
    assert "gpunode tracker issue" in str(error)


def test_docstrings_are_messages() -> None:
    """Without a text of its own an error shows its docstring."""
    assert str(errors.StorageUnavailable()) == errors.StorageUnavailable.__doc__
    assert issubclass(errors.TrackerError, GpunodeError)


def test_a_missing_scope_is_named() -> None:
    """With how to get a key that has it."""
    error = errors.MissingScope("ledger")
    assert error.scope == "ledger"
    assert "'ledger'" in str(error)
    assert "create-key --scope ledger" in str(error)
    assert isinstance(error, errors.Forbidden)
