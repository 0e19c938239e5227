"""``gpunode bench tracker``: what look-ups, workers and submissions cost at a real tracker, over HTTP on loopback.

The tracker runs as its command starts it, without mesh, with authentication, request ids and metrics, and with limits
that count every request but are too wide to refuse one. In front of it stand an index of nodes, a queue of 100,000 jobs
and 10,000 pull workers.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_tracker.limits import Budget

from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import latency_summary, median, spread_summary
from gpunode_benchmarks.tracker.heartbeats import HeartbeatCost, measure_heartbeats
from gpunode_benchmarks.tracker.lookups import LookUp, bodies_of, measure_look_ups
from gpunode_benchmarks.tracker.nodes import MODEL, list_nodes
from gpunode_benchmarks.tracker.processes import Running, bare_process, tracker_process
from gpunode_benchmarks.tracker.queue_work import measure_next_job, measure_submits
from gpunode_benchmarks.tracker.scene import Scene, make_scene, scene_settings

WIDE_LIMITS: Final = {
    "rates": {budget: {"per_minute": 10_000_000, "burst": 1_000_000} for budget in Budget},
    "requests_per_address": 1_000,
    "connections_per_address": 10_000,
}
"""Everything is counted, nothing is refused: all clients have one address here."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured. The usual plan takes less than 55 s; others are for closer looks.

    Args:
        nodes: in the index, over five regions. queued: jobs in the queue. workers: pull workers.
        pairs: turns of each kind of look-up at each server; turn_s: seconds of one.
        jobs: that a worker takes and completes.
        heartbeat_s: seconds of heartbeats. idle_s: before them, without any.
        submit_s: seconds of submissions.
        database_url: PostgreSQL to be measured with, an empty database; None = SQLite.
    """

    nodes: int = 100
    queued: int = 100_000
    workers: int = 10_000
    pairs: int = 6
    turn_s: float = 0.4
    jobs: int = 120
    heartbeat_s: float = 12.0
    idle_s: float = 1.0
    submit_s: float = 2.0
    database_url: str | None = None


@dataclass(frozen=True)
class _Taken:
    look_ups: tuple[LookUp, ...]
    next_job_ms: tuple[float, ...]
    heartbeats: HeartbeatCost
    submit_per_s: float


def run_tracker_bench(plan: Plan | None = None) -> BenchResult:
    """Fill a database, start the tracker and the bare server, measure, end them.

    Raises:
        BenchmarkFailed: a request was refused, or a process ended early.
        GpunodeError: the database cannot be used.
    """
    import uvloop  # noqa: PLC0415 -- as for the tracker

    plan = plan or Plan()
    load_before, began_at = load_average(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name:
        taken = uvloop.run(_run(Path(name), plan))
    return BenchResult(
        bench="tracker",
        about="a tracker over HTTP on loopback, with a long queue and many workers",
        settings={
            "database": "sqlite" if plan.database_url is None else "postgresql",
            "nodes": plan.nodes,
            "queued": plan.queued,
            "workers": plan.workers,
            "pairs": plan.pairs,
            "heartbeat_seconds": round(taken.heartbeats.seconds, 1),
            "seconds": round(time.monotonic() - began_at),
        },
        measures=tuple(_measures(taken)),
        load_before=load_before,
        load_after=load_average(),
    )


async def _run(folder: Path, plan: Plan) -> _Taken:
    settings = scene_settings(folder, plan.database_url)
    scene = await make_scene(settings, queued=plan.queued, paid=plan.jobs, worker_count=plan.workers)
    with ExitStack() as stack:
        options = {"limits": WIDE_LIMITS, "database_url": plan.database_url}
        tracker = stack.enter_context(tracker_process(settings.data_dir, options))
        await list_nodes(tracker.port, scene.network, plan.nodes)
        look_ups = await _look_ups(tracker, scene, plan, folder)
        next_job_ms = await measure_next_job(tracker, scene.workers[0], plan.jobs)
        heartbeats = await measure_heartbeats(tracker, scene.workers, seconds=plan.heartbeat_s, idle_s=plan.idle_s)
        submit_per_s = await measure_submits(tracker, scene.key, plan.submit_s)
    return _Taken(look_ups, tuple(next_job_ms), heartbeats, submit_per_s)


async def _look_ups(tracker: Running, scene: Scene, plan: Plan, folder: Path) -> tuple[LookUp, ...]:
    headers = {"Authorization": f"Bearer {scene.key}"}
    worker = jobs_api.WORKER_PATH.format(worker=scene.workers[1].id)
    look_ups = (
        LookUp("regions", api.REGIONS_PATH, headers),
        LookUp("nodes", f"{api.NODES_PATH}?task=llm&model={MODEL}&region=europe", headers),
        LookUp("worker", worker, headers),
    )
    with bare_process(folder, await bodies_of(tracker, look_ups)) as bare:
        await measure_look_ups(tracker, bare, look_ups, pairs=plan.pairs, turn_s=plan.turn_s)
    await asyncio.sleep(0)
    return look_ups


def _measures(taken: _Taken) -> Iterator[Measure]:
    for each in taken.look_ups:
        for name, about, unit, values in (
            ("tracker", "tracker", "requests/s", each.tracker.rates),
            ("bare", "bare handler", "requests/s", each.bare.rates),
            ("ratio", "tracker / bare", "ratio", each.ratios),
            ("cpu_ratio", "processor time, bare / tracker", "ratio", each.cpu_ratios),
        ):
            yield _spread(f"{each.name}_{name}", f"look-up of {each.name}: {about}", unit, values)
    lowest = min(taken.look_ups, key=lambda each: each.ratio)
    yield _one(
        "lookup_ratio", f"tracker / bare, lowest kind ({lowest.name})", "ratio", lowest.ratio, len(lowest.ratios)
    )
    summary = latency_summary(taken.next_job_ms)
    yield Measure(name="next_job", about="next-job", unit="ms", count=len(taken.next_job_ms), values=summary)
    beats = taken.heartbeats
    yield _one("heartbeat_core_share", "processor for heartbeats and all else", "cores", beats.core_share, beats.sent)
    yield _one("idle_core_share", "processor without heartbeats", "cores", beats.idle_share, 1)
    yield _one("submit_per_s", "submissions of jobs", "jobs/s", taken.submit_per_s, 1)


def _spread(name: str, about: str, unit: str, values: object) -> Measure:
    numbers = list(values)  # type: ignore[call-overload]  # -- lists and tuples of floats
    return Measure(name=name, about=about, unit=unit, count=len(numbers), values=spread_summary(numbers))


def _one(name: str, about: str, unit: str, value: float, count: int) -> Measure:
    return Measure(name=name, about=about, unit=unit, count=count, values={"median": median([value])})
