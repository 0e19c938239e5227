from gpunode._segment_numbers import SegmentNumbers
from gpunode_protocol.validation import MAX_SEGMENT_NUMBER


def test_each_request_has_a_number_of_its_own() -> None:
    """A node may have begun to work under the one before."""
    numbers = SegmentNumbers()
    assert [numbers.take(node) for node in ("one", "two", "one")] == [0, 1, 2]


def test_a_number_that_was_refused_is_used_again() -> None:
    """At another node: the same one may still remember it."""
    numbers = SegmentNumbers()
    taken = []
    for node in ("one", "two", "one", "one", "two"):
        taken.append(numbers.take(node))
        numbers.refused(taken[-1])
    assert taken == [0, 0, 1, 2, 2]


def test_a_number_is_free_no_more_once_another_was_given_out() -> None:
    """Two nodes are asked at once; the first says no, while the second may be at work."""
    numbers = SegmentNumbers()
    assert [numbers.take("one"), numbers.take("two")] == [0, 1]
    numbers.refused(0)
    assert numbers.take("three") == 2


def test_a_number_that_was_not_read_is_used_again() -> None:
    """At any node; who had refused it still remembers it."""
    numbers = SegmentNumbers()
    taken = []
    for node, is_read in (("one", False), ("one", True), ("two", False), ("two", False), ("one", True)):
        taken.append(numbers.take(node))
        if is_read:
            numbers.refused(taken[-1])
        else:
            numbers.unread(taken[-1], node)
    assert taken == [0, 0, 0, 0, 1]


def test_requests_that_are_not_read_use_up_no_numbers() -> None:
    """Not even beside one that is at work."""
    numbers = SegmentNumbers()
    numbers.take("one")
    for _ in range(2 * MAX_SEGMENT_NUMBER):
        assert not numbers.are_used_up
        numbers.unread(numbers.take("two"), "two")
    assert numbers.take("two") == 1


def test_there_are_64_numbers() -> None:
    """The last one is given out once."""
    numbers = SegmentNumbers()
    taken = []
    while not numbers.are_used_up:
        taken.append(numbers.take("node"))
    numbers.refused(taken[-1])
    assert taken == list(range(MAX_SEGMENT_NUMBER + 1))
    assert numbers.are_used_up
