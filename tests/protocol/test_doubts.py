"""Who is doubted when places contradict each other."""

from gpunode_protocol.doubts import Contradiction, doubtful_nodes
from gpunode_protocol.identity import Identity, PeerId
from hypothesis import given
from hypothesis import strategies as st

NODES = [Identity.from_seed(bytes([number + 1]) * 32).peer_id for number in range(8)]
LIAR, *HONEST = NODES


def _between(observers: list[PeerId], peers: list[PeerId]) -> list[Contradiction]:
    """Each of some contradicts each of others; every node has an account of its own."""
    return [Contradiction(one, f"of {one}", other, f"of {other}") for one in observers for other in peers]


def test_three_accounts_are_enough() -> None:
    """Two are not."""
    assert doubtful_nodes(_between(HONEST[:2], [LIAR])) == {}
    assert doubtful_nodes(_between(HONEST[:3], [LIAR])) == {LIAR: 3}
    assert doubtful_nodes([]) == {}


def test_many_nodes_of_one_account_are_one_voice() -> None:
    """An account may link any number of nodes."""
    told = [Contradiction(one, "same", LIAR, None) for one in HONEST]
    assert doubtful_nodes(told) == {}


def test_nobody_speaks_against_nodes_of_the_same_account() -> None:
    """Nor counts as a third voice against them."""
    told = [*_between(HONEST[:2], [LIAR]), Contradiction(HONEST[2], f"of {LIAR}", LIAR, f"of {LIAR}")]
    assert doubtful_nodes(told) == {}


def test_a_liar_does_not_take_honest_nodes_along() -> None:
    """It contradicts all that are near it, but they are more."""
    mutual = [*_between(HONEST, [LIAR]), *_between([LIAR], HONEST)]
    assert doubtful_nodes(mutual) == {LIAR: 7}


def test_two_liars_and_two_accomplices_elsewhere() -> None:
    """Four liars contradict five honest nodes: each liar has five against it, and falls before it can be heard."""
    liars, honest = NODES[:3], NODES[3:]
    mutual = [*_between(honest, liars), *_between(liars, honest)]
    assert doubtful_nodes(mutual) == dict.fromkeys(sorted(liars), 5)


def test_sides_of_equal_strength_are_left_alone() -> None:
    """Nobody knows who lies; a third party that is contradicted by others is doubted all the same."""
    left, right = NODES[:3], NODES[3:6]
    mutual = [*_between(left, right), *_between(right, left)]
    assert doubtful_nodes(mutual) == {}
    elsewhere = [Contradiction(PeerId(f"far {number}"), f"a{number}", NODES[7], None) for number in range(3)]
    assert doubtful_nodes([*mutual, *elsewhere]) == {NODES[7]: 3}


def test_the_undecided_are_not_heard() -> None:
    """A node that only they contradict is not doubted."""
    left, right = NODES[:3], NODES[3:6]
    mutual = [*_between(left, right), *_between(right, left)]
    assert doubtful_nodes([*mutual, *_between(left, [NODES[7]])]) == {}


def test_the_most_contradicted_come_first() -> None:
    """Whoever cuts the list keeps the worst."""
    told = [*_between(HONEST[2:5], [NODES[1]]), *_between(HONEST[2:6], [LIAR])]
    assert list(doubtful_nodes(told).items()) == [(LIAR, 4), (NODES[1], 3)]


edges = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)).filter(lambda edge: edge[0] != edge[1]))


@given(edges)
def test_nobody_is_doubted_without_three_accounts(told: list[tuple[PeerId, PeerId]]) -> None:
    """Whatever is told: three observers that are not doubted themselves at that time contradict it. It always ends."""
    contradictions = [item for one, other in told for item in _between([one], [other])]
    for peer, count in doubtful_nodes(contradictions).items():
        assert 3 <= count <= len({item.account for item in contradictions if item.peer == peer})
