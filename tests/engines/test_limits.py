from gpunode_engines.limits import EngineLimits


def test_the_defaults_are_consistent() -> None:
    """A hung child is noticed within a job's time, and pings come often enough to notice it."""
    limits = EngineLimits()
    assert limits.heartbeat_s < limits.silence_s < limits.stall_s < limits.job_s
    assert limits.cancel_s < limits.job_s
    assert limits.backoff_s < limits.backoff_max_s


def test_the_documented_caps() -> None:
    """300 s for a text job, 32 GiB of memory, 100 MiB of output."""
    limits = EngineLimits()
    assert (limits.job_s, limits.rss_bytes, limits.output_bytes) == (300.0, 32 << 30, 100 << 20)
