import pytest
from gpunode_protocol.clock_offset import describe_offset, is_beyond_tolerance, offset_to_tracker


def test_the_offset_is_taken_from_the_middle_of_the_round_trip() -> None:
    """The tracker's seconds are cut, so half of one is added."""
    assert offset_to_tracker(1_000.0, 1_002.0, 1_000) == 0.5
    assert offset_to_tracker(1_120.0, 1_120.0, 1_000) == 119.5


@pytest.mark.parametrize(
    ("offset_s", "beyond"), [(None, False), (0.0, False), (60.0, False), (-60.0, False), (60.1, True), (-120.0, True)]
)
def test_what_requests_tolerate_is_the_limit(offset_s: float | None, beyond: bool) -> None:
    """Nodes refuse a request that is more than a minute off, either way."""
    assert is_beyond_tolerance(offset_s) is beyond


def test_an_offset_is_told_with_its_direction() -> None:
    """The user sees which way to turn the clock."""
    assert describe_offset(120.2, "the tracker's") == "This computer's clock is 120 s ahead of the tracker's"
    assert describe_offset(-5.0, "the tracker's") == "This computer's clock is 5 s behind the tracker's"
