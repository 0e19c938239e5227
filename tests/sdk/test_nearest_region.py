from collections.abc import Sequence

import pytest
from gpunode._nearest_region import MAX_HOME_RTT_MS, nearest_region
from gpunode_protocol.regions import Region

HERE, THERE, ELSEWHERE = Region.EUROPE, Region.AMERICA, Region.AFRICA
NEAR, FAR = (12, 18, 30), (90, 95, 99)


def test_the_region_of_the_nearest_nodes_is_taken() -> None:
    """The median of its three nearest counts: the far end of a large region does not."""
    assert nearest_region({THERE: FAR, HERE: (*NEAR, 200, 210, 220)}) is HERE


def test_one_liar_does_not_move_a_client() -> None:
    """Next door, it claims a region that is far; or far away, it claims the client's own."""
    assert nearest_region({THERE: (1, *FAR), HERE: NEAR}) is HERE
    assert nearest_region({THERE: (1, *FAR[:2]), HERE: NEAR}) is HERE
    assert nearest_region({THERE: FAR, HERE: (*NEAR[:2], 300)}) is HERE
    assert nearest_region({ELSEWHERE: (1,), HERE: NEAR}) is HERE


@pytest.mark.parametrize("measured", [(), (5,), (5, 6)])
def test_two_nodes_do_not_tell_a_region(measured: Sequence[float]) -> None:
    """One of them may lie."""
    assert nearest_region({HERE: measured}) is None


def test_a_client_far_from_all_that_it_measured_is_in_none_of_their_regions() -> None:
    """Light goes from one region to another in that time."""
    assert 60 < MAX_HOME_RTT_MS < 65
    assert nearest_region({HERE: (MAX_HOME_RTT_MS,) * 3}) is HERE
    assert nearest_region({HERE: (MAX_HOME_RTT_MS + 0.1,) * 3}) is None


def test_the_present_region_stays_between_two_that_are_as_near() -> None:
    """Home connections jitter by 10 ms; beyond that the nearer one is taken."""
    assert nearest_region({HERE: (20, 20, 20), THERE: (12, 12, 12)}, HERE) is HERE
    assert nearest_region({HERE: (20, 20, 20), THERE: (9, 9, 9)}, HERE) is THERE


def test_the_present_region_stays_while_nothing_is_measured() -> None:
    """Until its own nodes are far: the computer has travelled."""
    assert nearest_region({}, HERE) is HERE
    assert nearest_region({HERE: (12, 18)}, HERE) is HERE
    assert nearest_region({HERE: FAR}, HERE) is None
