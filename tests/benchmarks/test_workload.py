from collections import Counter

from gpunode_benchmarks.workload import MIN_ROUNDS, SIDES, orders, prompt_of


def test_every_round_has_every_side_once() -> None:
    """No side is left out of a pair, also beyond the six different orders."""
    assert all(sorted(order) == sorted(SIDES) for order in orders(2 * MIN_ROUNDS + 1))
    assert len(list(orders(2 * MIN_ROUNDS + 1))) == 2 * MIN_ROUNDS + 1


def test_every_side_precedes_every_other_equally_often() -> None:
    """Who comes first in a round has no advantage on the whole."""
    precedes = Counter(
        (order[i], order[j]) for order in orders(MIN_ROUNDS) for i in range(len(SIDES)) for j in range(i)
    )
    assert set(precedes.values()) == {MIN_ROUNDS // 2}


def test_prompts_share_no_beginning() -> None:
    """A cache of prompts could not help: each one differs from its first word on."""
    first_words = [prompt_of(number).split()[0] for number in range(100)]
    assert len(set(first_words)) == 100
