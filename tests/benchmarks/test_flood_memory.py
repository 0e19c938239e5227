import pytest
from gpunode_benchmarks.flood_memory import growth_mb
from gpunode_benchmarks.resident_memory import Resident


def test_the_highest_since_is_compared_with_the_median_before() -> None:
    """Node and p2pd apart, in MB; a single high sample before does not hide growth."""
    before = [(0.0, Resident(90.0, 60.0, 1.0)), (1.0, Resident(200.0, 60.0, 1.0)), (2.0, Resident(90.0, 60.0, 1.0))]
    since = [(3.0, Resident(100.0, 160.0, 1.0)), (4.0, Resident(95.0, 70.0, 500.0))]
    assert growth_mb(before + since, 3.0) == pytest.approx({"node": 10 * 1.048576, "p2pd": 100 * 1.048576})


@pytest.mark.parametrize("flooded_from_s", [0.0, 5.0])
def test_both_sides_are_needed(flooded_from_s: float) -> None:
    """Growth is a difference."""
    with pytest.raises(ValueError):  # noqa: PT011 -- the functions that find nothing say so in their own words
        growth_mb([(1.0, Resident(90.0, 60.0, 1.0))], flooded_from_s)
