from collections import Counter
from collections.abc import Awaitable, Callable

from gpunode_benchmarks.engines.turns import SEQUENCES, SIDES, Order, sequences, side_measures, take_turns


def test_every_round_has_every_side_once() -> None:
    """No side is left out of a pair, also beyond the six different sequences."""
    assert all(sorted(sequence) == sorted(SIDES) for sequence in sequences(2 * SEQUENCES + 1))
    assert len(list(sequences(2 * SEQUENCES + 1))) == 2 * SEQUENCES + 1


def test_every_side_precedes_every_other_equally_often() -> None:
    """Who comes first in a round has no advantage on the whole."""
    precedes = Counter(
        (sequence[i], sequence[j]) for sequence in sequences(SEQUENCES) for i in range(len(SIDES)) for j in range(i)
    )
    assert set(precedes.values()) == {SEQUENCES // 2}


async def test_all_sides_get_the_same_order_in_the_rounds_sequence() -> None:
    """Each round has an order of its own."""
    done: list[tuple[str, int]] = []
    numbers = iter(range(9))

    def next_order() -> Order:
        return {"number": next(numbers)}

    def side(name: str) -> Callable[[Order], Awaitable[float]]:
        async def run(order: Order) -> float:
            done.append((name, order["number"]))
            return float(order["number"] + 0.5)

        return run

    sides = {name: side(name) for name in ("bare", "engine")}
    assert await take_turns(sides, [("engine", "bare"), ("bare", "engine")], next_order) == {
        "bare": [0.5, 1.5],
        "engine": [0.5, 1.5],
    }
    assert done == [("engine", 0), ("bare", 0), ("bare", 1), ("engine", 1)]


def test_a_ratio_above_one_says_that_the_engine_is_faster() -> None:
    """Ratios are those of the speeds of one round; beside them stands what chance makes."""
    seconds = {"bare": [2.0], "engine": [1.0], "bare_again": [4.0]}
    measures = side_measures(seconds, work=8, unit="tokens/s", about="it")
    assert {measure.name: measure.values["median"] for measure in measures} == {
        "it: bare library": 4.0,
        "it: engine": 8.0,
        "it: ratio": 2.0,
        "it: a_a": 0.5,
    }
    assert {measure.unit for measure in measures} == {"tokens/s", "engine / bare", "bare / bare"}


def test_two_sides_have_no_noise_to_report() -> None:
    """Where a second bare library would cost too much time."""
    measures = side_measures({"bare": [2.0], "engine": [1.0]}, work=8, unit="tokens/s", about="it")
    assert [measure.name for measure in measures] == ["it: bare library", "it: engine", "it: ratio"]
    assert list(sequences(2, ("bare", "engine"))) == [("bare", "engine"), ("engine", "bare")]
