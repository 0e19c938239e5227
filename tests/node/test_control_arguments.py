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
