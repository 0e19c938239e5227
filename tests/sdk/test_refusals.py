"""Requests that are not valid, in the caller's words."""

import pytest
from gpunode._refusals import not_valid
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.payloads import EmbeddingParams


def test_classes_of_the_wire_are_not_named() -> None:
    """The caller knows the argument and its limit."""
    with pytest.raises(MalformedMessage) as caught:
        EmbeddingParams.from_map({"inputs": ("x",) * 2049})
    told = str(not_valid(caught.value))
    assert told == "The request is not valid, nothing was sent: inputs: must have at most 2,048 entries."
    assert str(not_valid("n must be 1")).endswith("nothing was sent: n must be 1.")
