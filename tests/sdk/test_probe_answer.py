from gpunode._probe_answer import Probe, after


def test_load_counts_jobs_for_each_slot() -> None:
    """Waiting jobs count like running ones."""
    assert Probe(1, active=4, queued=2, slots=4).load == 1.5
    assert Probe(rtt_ms=1, active=1, queued=0, slots=0).load == 1.0
    assert [Probe(1, active, 0, 4).is_free for active in (3, 4)] == [True, False]
    assert not Probe(1, 0, 0, 4, draining=True).is_free


def test_beside_a_job_are_at_most_all_other_slots() -> None:
    """Whoever waits until one is free does not share with more."""
    assert [Probe(1, active, 0, 4).beside for active in (0, 1, 3, 9)] == [0, 0.25, 0.75, 0.75]
    assert Probe(1, 1, 0, 1).beside == 0


def test_waiting_goes_on_while_an_answer_grows_old() -> None:
    """A queue of which a node told a second ago is a second shorter."""
    told = Probe(1, active=4, queued=1, slots=4, wait_ms=1_500)
    assert [after(told, age_ms=age_ms, sent=0, left=0).wait_ms for age_ms in (0, 1_000, 2_000)] == [1_500, 500, 0]


def test_own_jobs_come_and_go() -> None:
    """Those sent since are told apart, those that ended since are gone, and nobody waits for a slot that they freed."""
    told = Probe(1, active=1, queued=0, slots=1, wait_ms=700)
    assert after(told, age_ms=0, sent=1, left=0) == Probe(1, active=2, queued=0, slots=1, wait_ms=700, sent=1)
    assert after(told, age_ms=0, sent=0, left=1) == Probe(1, active=0, queued=0, slots=1)


def test_who_waits_for_the_model_waits_on() -> None:
    """It is not a slot that is missing."""
    loading = Probe(1, active=1, queued=0, slots=4, wait_ms=5_000)
    assert after(loading, age_ms=0, sent=0, left=1).wait_ms == 5_000
