"""``gpunode bench tracker``: what one tracker process takes of look-ups, pull workers and jobs, on loopback.

The tracker is the real one with its SQLite database in a temporary folder, a process of its own; who asks it is this
process, over kept connections. It has no mesh, because nodes without engines would be sent the jobs otherwise.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import uvloop
from gpunode.demo.children import DemoFailed
from gpunode_tracker import keys

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import load_average
from gpunode_benchmarks.tracker.effort import USUAL, Effort
from gpunode_benchmarks.tracker.report import TrackerBenchResult, measures
from gpunode_benchmarks.tracker.scene import Seen, run_scene
from gpunode_benchmarks.tracker.tracker_process import RAISED


def run_tracker_bench(effort: Effort = USUAL) -> TrackerBenchResult:
    """Fill a tracker, start it, measure, end it.

    Raises:
        BenchmarkFailed: a process ended early or was not ready in time, or something was refused.
    """
    load_before, began_at = load_average(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name, without_advice_on_keys():
        try:
            seen = uvloop.run(run_scene(Path(name), effort))
        except DemoFailed as error:
            raise BenchmarkFailed(str(error)) from error
    return TrackerBenchResult(
        bench="tracker",
        about="one tracker process with SQLite, on loopback",
        settings=_settings(effort, seen, time.monotonic() - began_at),
        measures=tuple(measures(seen)),
        plans=seen.plans,
        load_before=load_before,
        load_after=load_average(),
    )


@contextmanager
def without_advice_on_keys() -> Iterator[None]:
    """Do not say where to keep a new network's root key, which ends with the bench."""
    logger = logging.getLogger(keys.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _settings(effort: Effort, seen: Seen, elapsed_s: float) -> Mapping[str, int | float | str]:
    sizes = {f"{name}_body_bytes": rounds.body_bytes for name, rounds in seen.lookups.items()}
    return (
        asdict(effort)
        | sizes
        | {
            "mesh": "off",
            "rate_limits": f"{RAISED.per_minute} a minute each, all other limits as shipped",
            "next_job_concurrency": 1,
            "seconds": round(elapsed_s),
        }
    )
