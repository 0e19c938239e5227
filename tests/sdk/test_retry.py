from random import Random

from gpunode._retry import delay_s


def test_delays_double_up_to_two_seconds_with_jitter() -> None:
    """Up to half as much again, never less."""
    for attempt, base in enumerate((0.2, 0.4, 0.8, 1.6, 2.0, 2.0)):
        assert all(base <= delay_s(attempt, Random(seed)) <= base * 1.5 for seed in range(20))
    assert delay_s(10_000, Random(1)) <= 3.0
