from dataclasses import replace

import pytest
from gpunode.types import RouteSegment
from gpunode_benchmarks.failover_cuts import Arrival, Cut, gaps_ms, tokens_lost, tokens_repeated

FIRST = RouteSegment("killed", "asia", 3, "its stream ended")
SECOND = RouteSegment("other", "europe", 2, "done")
CUT = Cut(
    job="job",
    expected=(1, 2, 3, 4, 5),
    arrivals=(Arrival(0.0, (1,)), Arrival(1.0, (2, 3)), Arrival(1.75, (4,)), Arrival(4.0, (5,)), Arrival(9.0, ())),
    before=1,
    ids=(1, 2, 3, 4, 5),
    vouched=5,
    parts=(FIRST, SECOND),
)


def test_an_answer_that_went_on_as_if_nothing_had_been() -> None:
    """Nothing is lost or repeated, and nobody could tell."""
    assert (tokens_lost(CUT), tokens_repeated(CUT)) == (0, 0)
    assert CUT.was_cut
    assert CUT.prefix_unchanged
    assert CUT.is_identical


def test_the_gap_lies_between_two_nodes() -> None:
    """However long the next node takes for its later tokens; each cut has its own gap."""
    assert list(gaps_ms(CUT)) == [750.0]
    third = RouteSegment("third", "asia", 1, "done")
    twice = replace(CUT, parts=(FIRST, replace(SECOND, output_units=1, ended="silent"), third))
    assert list(gaps_ms(twice)) == [750.0, 2250.0]


def test_an_answer_that_broke_off_has_no_gap() -> None:
    """Nothing came after it."""
    broken = replace(CUT, arrivals=CUT.arrivals[:2], ids=(1, 2, 3), vouched=3, parts=(FIRST,), is_whole=False)
    assert list(gaps_ms(broken)) == []
    assert broken.was_cut
    assert not broken.is_identical
    assert (tokens_lost(broken), tokens_repeated(broken)) == (0, 0)


def test_an_answer_that_one_node_gave_was_not_cut() -> None:
    """It was over before its node was killed."""
    assert not replace(CUT, parts=(replace(SECOND, output_units=5),)).was_cut


@pytest.mark.parametrize(
    ("shown", "lost", "repeated"),
    [((1, 2, 3, 5), 1, 0), ((1, 2, 3, 3, 4, 5), 0, 1), ((1, 2, 3), 2, 0), ((1, 2, 2, 3, 5), 1, 1)],
    ids=str,
)
def test_what_was_shown_is_compared_with_the_verified_result(shown: tuple[int, ...], lost: int, repeated: int) -> None:
    """Also where as many were lost as repeated."""
    cut = replace(CUT, arrivals=tuple(Arrival(0.0, (number,)) for number in shown))
    assert (tokens_lost(cut), tokens_repeated(cut)) == (lost, repeated)


def test_what_was_shown_is_compared_with_what_was_signed() -> None:
    """A result that lacks a token that was vouched for, or has one more, is no better for being shown like that."""
    assert (tokens_lost(replace(CUT, vouched=6)), tokens_repeated(replace(CUT, vouched=6))) == (1, 0)
    assert (tokens_lost(replace(CUT, vouched=4)), tokens_repeated(replace(CUT, vouched=4))) == (0, 1)


def test_a_prefix_that_changed_is_noticed() -> None:
    """The result says something else than what had been shown."""
    assert not replace(CUT, ids=(9, 2, 3, 4, 5)).prefix_unchanged
    assert replace(CUT, ids=(1, 9, 3, 4, 5)).prefix_unchanged
