"""What is computed from outcomes."""

from gpunode_tracker.workers.statistics import LATENCY_WEIGHT, OUTCOME_WEIGHT, Statistics


def test_a_new_worker() -> None:
    """It is trusted, and nothing is known of its speed."""
    assert Statistics() == Statistics(avg_latency_ms=None, success_rate=1.0, total_jobs=0)


def test_the_first_latency_is_taken_whole_and_later_ones_by_weight() -> None:
    """So that one slow job does not hide a fast worker."""
    first = Statistics().after_success(1_000)
    assert (first.avg_latency_ms, first.success_rate, first.total_jobs) == (1_000, 1.0, 1)
    second = first.after_success(2_000)
    assert second.avg_latency_ms == round(1_000 + LATENCY_WEIGHT * 1_000)
    assert second.total_jobs == 2


def test_failures_count_and_are_forgotten_slowly() -> None:
    """The rate falls by each failure, never below 0, and rises again, never above 1."""
    failed = Statistics(avg_latency_ms=5).after_failure()
    assert (failed.success_rate, failed.total_jobs, failed.avg_latency_ms) == (1 - OUTCOME_WEIGHT, 1, 5)
    for _ in range(500):
        failed = failed.after_failure()
    assert 0 <= failed.success_rate < 1e-9
    for _ in range(500):
        failed = failed.after_success(1)
    assert 0.999 < failed.success_rate <= 1.0


def test_half_the_weight_is_gone_after_fourteen_failures() -> None:
    """As the constant's docstring says."""
    statistics = Statistics()
    for _ in range(14):
        statistics = statistics.after_failure()
    assert 0.45 < statistics.success_rate < 0.5
