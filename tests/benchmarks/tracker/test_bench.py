import logging
from pathlib import Path

import pytest
from gpunode.demo.children import DemoFailed
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker import bench
from gpunode_benchmarks.tracker.effort import Effort
from gpunode_tracker import keys

from tests.benchmarks.tracker.test_report import SEEN


def test_settings_say_what_was_done(monkeypatch: pytest.MonkeyPatch, small: Effort) -> None:
    """Sizes, and what is not as shipped."""

    async def scene(_folder: Path, _effort: Effort) -> object:
        return SEEN

    monkeypatch.setattr(bench, "run_scene", scene)
    result = bench.run_tracker_bench(small)
    assert result.bench == "tracker"
    assert result.plans == SEEN.plans
    assert result.settings["queued_jobs"] == small.queued_jobs
    assert result.settings["regions_body_bytes"] == 7
    assert {"mesh", "rate_limits", "seconds"} <= set(result.settings)


def test_advice_on_keys_is_silent_for_as_long_as_the_bench() -> None:
    """The operator of a real tracker needs it."""
    logger = logging.getLogger(keys.__name__)
    before = logger.level
    with bench.without_advice_on_keys():
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.level == before


def test_a_process_that_ends_early_is_a_failed_bench(monkeypatch: pytest.MonkeyPatch, small: Effort) -> None:
    """With its last words."""

    async def scene(_folder: Path, _effort: Effort) -> object:
        raise DemoFailed("it ended early")

    monkeypatch.setattr(bench, "run_scene", scene)
    with pytest.raises(BenchmarkFailed, match="ended early"):
        bench.run_tracker_bench(small)
