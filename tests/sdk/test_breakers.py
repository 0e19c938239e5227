from gpunode._breakers import Breakers


def test_a_pause_doubles_from_15_seconds_to_5_minutes() -> None:
    """And ends by itself."""
    breakers, pauses = Breakers(), []
    for _ in range(7):
        breakers.failed("node", 0.0)
        pauses.append(next(at for at in (15, 30, 60, 120, 240, 300) if "node" not in breakers.blocked(at)))
    assert pauses == [15, 30, 60, 120, 240, 300, 300]


def test_success_forgets() -> None:
    """The next failure begins at 15 s again."""
    breakers = Breakers()
    breakers.failed("node", 0.0)
    breakers.failed("node", 0.0)
    breakers.succeeded("node")
    assert breakers.blocked(0.0) == frozenset()
    breakers.failed("node", 0.0)
    assert breakers.blocked(15.0) == frozenset()


def test_a_busy_node_says_how_long() -> None:
    """Without counting as a failure."""
    breakers = Breakers()
    breakers.busy("node", 0.0, 2.0)
    assert breakers.blocked(1.9) == {"node"}
    assert breakers.blocked(2.0) == frozenset()
    breakers.busy("node", 0.0, None)
    assert breakers.blocked(14.9) == {"node"}


def test_a_busy_node_names_the_instant_of_its_return() -> None:
    """Where it names none, nobody has to wait for it."""
    breakers = Breakers()
    breakers.busy("one", 10.0, 2.0)
    breakers.busy("two", 10.0, None)
    breakers.failed("three", 10.0)
    assert [breakers.busy_until(node) <= 10.0 for node in ("one", "two", "three", "four")] == [False, True, True, True]
    assert breakers.busy_until("one") == 12.0
