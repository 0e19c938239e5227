import pytest
from gpunode_benchmarks.lab.errors import LabFailed, LabUnavailable, WorldInvalid
from gpunode_protocol.errors import GpunodeError


@pytest.mark.parametrize("error", [LabFailed, LabUnavailable, WorldInvalid])
def test_each_error_says_what_to_do_by_itself(error: type[GpunodeError]) -> None:
    """The docstring is the message if none is given."""
    assert issubclass(error, GpunodeError)
    assert str(error()) == " ".join((error.__doc__ or "").split())
