import pytest
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh import errors


@pytest.mark.parametrize(
    "error", [errors.MeshUnavailable, errors.P2pdFailed, errors.PeerUnreachable, errors.IdentityFileError]
)
def test_errors_are_user_messages(error: type[GpunodeError]) -> None:
    """Without a message, an error says its docstring, which a user can read."""
    assert isinstance(error(), GpunodeError)
    assert str(error()) == error.__doc__


def test_rejection_has_a_word_for_the_counters() -> None:
    """The reason is kept apart from the text."""
    assert errors.RecordRejected("expired").reason == "expired"
