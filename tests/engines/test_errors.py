import inspect

import pytest
from gpunode_engines import errors
from gpunode_engines.errors import BackendFailed, EngineError, engine_error_named
from gpunode_protocol.errors import RETRYABLE, ErrorCode, GpunodeError

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, EngineError)]


@pytest.mark.parametrize("error_type", ALL, ids=lambda error_type: error_type.__name__)
def test_every_error_is_a_message_for_users(error_type: type[EngineError]) -> None:
    """The docstring is what a user reads, and the class stands in the module's tree."""
    assert issubclass(error_type, GpunodeError)
    assert str(error_type()) == (error_type.__doc__ or "").strip()
    assert error_type.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("error_type", ALL, ids=lambda error_type: error_type.__name__)
def test_names_travel(error_type: type[EngineError]) -> None:
    """A child reports the class by name."""
    error = engine_error_named(error_type.__name__, "why")
    assert type(error) is error_type
    assert str(error) == "why"


def test_unknown_names_are_failures_of_the_backend() -> None:
    """A child cannot make the parent raise anything else."""
    assert type(engine_error_named("SystemExit", "why")) is BackendFailed


def test_lost_engines_can_be_retried_elsewhere_and_bad_requests_cannot() -> None:
    """The wire code decides who tries again."""
    assert errors.EngineCrashed.code in RETRYABLE
    assert errors.EngineOverloaded.code in RETRYABLE
    assert errors.ContextOverflow.code is ErrorCode.CONTEXT_OVERFLOW
    assert errors.InvalidParameters.code not in RETRYABLE
