"""Numbers in the caller's unit, with the limits in it too."""

import math
from typing import Any

import pytest
from gpunode._millionths import millionths
from gpunode.errors import InvalidRequest
from gpunode_protocol.payloads import ImageParams, LlmParams


def test_limits_are_those_of_the_task() -> None:
    """They stand in the protocol's parameters only."""
    assert millionths(ImageParams, "guidance", 100) == 100_000_000
    assert millionths(LlmParams, "temperature", 0.7) == 700_000


@pytest.mark.parametrize("value", [math.nan, "7", None, True])
def test_what_is_no_number(value: Any) -> None:
    """NaN is none either."""
    with pytest.raises(InvalidRequest, match="guidance must be a number"):
        millionths(ImageParams, "guidance", value)


@pytest.mark.parametrize("value", [-0.1, 100.1, math.inf])
def test_what_is_outside(value: float) -> None:
    """Limits are told in the caller's unit."""
    with pytest.raises(InvalidRequest, match="guidance must be between 0 and 100"):
        millionths(ImageParams, "guidance", value)
