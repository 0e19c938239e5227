from gpunode._breakers import Breakers


def test_a_pause_doubles_from_15_seconds_to_5_minutes() -> None:
    """And ends by itself."""
    breakers, now, pauses = Breakers(), 0.0, []
    for _ in range(7):
        breakers.failed("node", now)
        pauses.append(next(s for s in (15, 30, 60, 120, 240, 300) if "node" not in breakers.blocked(now + s)))
        now += pauses[-1]
    assert pauses == [15, 30, 60, 120, 240, 300, 300]


def test_jobs_that_end_together_are_one_failure() -> None:
    """Eight were there when the node was started anew."""
    breakers = Breakers()
    for moment in range(8):
        breakers.failed("node", moment / 8)
    assert (breakers.blocked(15.0), breakers.blocked(16.0)) == ({"node"}, frozenset())


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
