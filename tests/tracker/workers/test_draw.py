"""Lots by weight."""

import random
from collections import Counter

import pytest
from gpunode_tracker.workers.draw import drawn_order


def test_chances_are_proportional_to_weights() -> None:
    """Of 20,000 seeded draws, each is first as often as its weight says, within two percent of all."""
    rng, weights = random.Random(6), {"a": 150.0, "b": 100.0, "c": 15.0}
    firsts = Counter(drawn_order(weights, weights.__getitem__, rng)[0] for _ in range(20_000))
    for name, weight in weights.items():
        assert firsts[name] / 20_000 == pytest.approx(weight / sum(weights.values()), abs=0.02)


def test_everybody_is_in_the_order_once() -> None:
    """So that the next one can be asked when the first one cannot take it."""
    assert sorted(drawn_order(range(50), lambda _: 1.0, random.Random(1))) == list(range(50))


def test_nobody_and_nothing() -> None:
    """Without candidates there is no order; weights of 0 leave the others the first places."""
    assert drawn_order([], lambda _: 1.0, random.Random(1)) == []
    rng = random.Random(1)
    assert all(drawn_order("abc", lambda name: float(name == "b"), rng)[0] == "b" for _ in range(200))
