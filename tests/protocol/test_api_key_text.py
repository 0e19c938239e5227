"""What can be an API key."""

import pytest
from gpunode_protocol.api_key_text import can_be_api_key


def test_a_key() -> None:
    """As trackers make them."""
    assert can_be_api_key("gpn_po-KYxOp9HhqXRSxcwlLSMti_s5ILarzmy-k0WOgpxM")


@pytest.mark.parametrize("text", ["", "two words", "a\nb", "a\r\nX-Other: 1", "gpn_é", "\x00", "k" * 513])
def test_what_is_none(text: str) -> None:
    """Nothing that would end or change a header."""
    assert not can_be_api_key(text)
