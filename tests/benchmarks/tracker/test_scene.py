from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.lookups import OPEN, WITH_KEY
from gpunode_benchmarks.tracker.scene import run_scene


@pytest.mark.full
async def test_everything_is_measured_on_real_processes(tmp_path: Path, small: Effort) -> None:
    """A tracker and a bare handler, each in a process of its own."""
    effort = replace(small, heartbeat_interval_s=0.6, heartbeat_s=0.3)
    seen = await run_scene(tmp_path, effort)
    assert tuple(seen.lookups) == (*OPEN, WITH_KEY)
    assert len(seen.takes_ms) == effort.takers * effort.takes
    assert len(seen.keyed_takes_ms) == effort.keyed_takers * effort.takes
    assert len(seen.heartbeats.took_ms) == round(effort.heartbeats_per_s * effort.heartbeat_s)
    assert seen.submissions.took_ms
    assert seen.plans["next_job"]
