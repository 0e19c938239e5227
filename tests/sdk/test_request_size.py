"""What does not fit into the request's frame is told before it is sent."""

import pytest
from gpunode._request_size import check_size, fits
from gpunode.errors import InvalidRequest
from gpunode_protocol.framing import MAX_FRAME_BYTES
from gpunode_protocol.payloads import EmbeddingParams


def _params(size: int) -> EmbeddingParams:
    return EmbeddingParams(inputs=("x" * (size // 2), "x" * (size // 2)))


def test_the_limit_leaves_room_for_the_grant() -> None:
    """A request of almost a frame would be refused by the node."""
    check_size(_params(MAX_FRAME_BYTES - 20_000), "The texts")
    with pytest.raises(InvalidRequest, match=r"The texts have 10\d+ bytes"):
        check_size(_params(MAX_FRAME_BYTES - 10_000), "The texts")


def test_what_comes_beside_the_parameters_counts() -> None:
    """The ids of an answer that is gone on with."""
    params = _params(MAX_FRAME_BYTES - 20_000)
    assert fits(params, (1,) * 1_000)
    assert not fits(params, (1,) * 9_000)
