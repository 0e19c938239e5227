"""Arguments of control commands."""

import pytest
from gpunode_node.control_arguments import api_key_of
from gpunode_node.errors import ControlRefused


@pytest.mark.parametrize("arguments", [{}, {"api_key": ""}, {"api_key": 7}])
def test_a_missing_key(arguments: dict[str, object]) -> None:
    """It is said to be missing; nothing else is taken for one."""
    assert api_key_of({"api_key": "k"}) == "k"
    with pytest.raises(ControlRefused, match="missing"):
        api_key_of(arguments)


@pytest.mark.parametrize("api_key", ["two\nlines", "two words", "gpn_é", "\x00"])
def test_what_cannot_be_a_key(api_key: str) -> None:
    """It would break the header that carries it; it is not repeated, since it may be another secret."""
    with pytest.raises(ControlRefused, match="no API key") as caught:
        api_key_of({"api_key": api_key})
    assert api_key not in str(caught.value)
