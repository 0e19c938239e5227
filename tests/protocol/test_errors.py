"""Error codes and the exception tree."""

import inspect

import pytest
from gpunode_protocol import errors
from gpunode_protocol.errors import RETRYABLE, ErrorCode, GpunodeError, JobError, job_error

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, GpunodeError) and value is not JobError
]


@pytest.mark.parametrize("error", CLASSES)
def test_docstring_is_the_message(error: type[GpunodeError]) -> None:
    """An exception without words of its own says what its class says."""
    assert str(error()) == (error.__doc__ or "").strip() != ""
    assert str(error("something else")) == "something else"


@pytest.mark.parametrize("error", CLASSES)
def test_every_class_is_in_the_tree(error: type[GpunodeError]) -> None:
    """The module's docstring shows the whole tree."""
    assert error.__name__ in (errors.__doc__ or "")


def test_codes_are_their_names() -> None:
    """The text on the wire is the member's name in small letters."""
    assert {code.value for code in ErrorCode} == {code.name.lower() for code in ErrorCode}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_retryable_follows_from_the_code(code: ErrorCode) -> None:
    """Whether another node may be tried is the same for everyone."""
    error = job_error(code, "It happened.", retry_after_s=1.5)
    assert (error.retryable, error.retry_after_s) == (code in RETRYABLE, 1.5)
    assert str(error) == f"It happened. ({code.value})"


def test_no_code_that_is_the_clients_fault_is_retried() -> None:
    """What is wrong with the request is wrong everywhere."""
    assert not RETRYABLE & {
        ErrorCode.MALFORMED,
        ErrorCode.BAD_SIGNATURE,
        ErrorCode.INVALID_PARAMETERS,
        ErrorCode.GRANT_EXPIRED,
        ErrorCode.GRANT_REVOKED,
        ErrorCode.STALE_REQUEST,
        ErrorCode.CANCELLED,
    }
