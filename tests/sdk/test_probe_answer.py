from gpunode._probe_answer import Probe


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
