from gpunode_tracker.dispatch.pauses import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pauses


def test_each_failure_makes_the_pause_longer_up_to_a_limit() -> None:
    """Twice as long each time."""
    pauses, now = Pauses[str](), 100.0
    lengths = []
    for _ in range(8):
        pauses.failed("llm", now)
        length = next(s for s in (0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE_S) if not pauses.is_paused("llm", now + s))
        lengths.append(length)
        now += length
    assert lengths[:5] == [FIRST_PAUSE_S, 1.0, 2.0, 4.0, 8.0]
    assert set(lengths[5:]) == {LONGEST_PAUSE_S}


def test_lanes_pause_alone_and_a_success_ends_it() -> None:
    """What ails one lane is no matter of another one's."""
    pauses = Pauses[str]()
    pauses.failed("llm", 0.0)
    assert pauses.is_paused("llm", 0.1)
    assert not pauses.is_paused("whisper", 0.1)
    pauses.succeeded("llm")
    pauses.succeeded("whisper")
    assert not pauses.is_paused("llm", 0.1)


def test_what_was_long_ago_is_forgotten() -> None:
    """The next failure begins with the shortest pause."""
    pauses = Pauses[str]()
    pauses.failed("llm", 0.0)
    pauses.failed("llm", 1.0)
    pauses.forget_old(5.0)
    pauses.failed("llm", 5.0)
    assert pauses.is_paused("llm", 6.9)
    pauses.forget_old(100.0)
    pauses.failed("llm", 100.0)
    assert not pauses.is_paused("llm", 100.0 + FIRST_PAUSE_S)


def test_everything_can_be_forgotten() -> None:
    """Somebody new may be the one who was missing."""
    pauses = Pauses[str]()
    pauses.failed("llm", 0.0)
    pauses.clear()
    assert not pauses.is_paused("llm", 0.1)
