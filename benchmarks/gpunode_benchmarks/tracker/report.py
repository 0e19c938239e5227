"""What the tracker bench reports: its measures, and the object that ``gpunode bench tracker --json`` prints. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpunode_benchmarks.report import BenchResult, Measure
from gpunode_benchmarks.stats import latency_summary, pair_ratios, spread_summary
from gpunode_benchmarks.tracker.lookups import OPEN, WITH_KEY, LookupRounds, Pace
from gpunode_benchmarks.tracker.query_plans import QueryPlan, plans_to_json
from gpunode_benchmarks.tracker.scene import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerBenchResult(BenchResult):
    """The usual result, with the plans of the statements that the tracker sends on its hot paths."""

    plans: Mapping[str, Sequence[QueryPlan]] = field(default_factory=dict)


def measures(seen: Seen) -> Iterator[Measure]:
    """Yield all figures."""
    for name, rounds in seen.lookups.items():
        yield from _lookup_measures(name, rounds)
    yield _measure("next_job", "next job of the long queue", "ms", seen.takes_ms, latency_summary(seen.takes_ms))
    keyed_ms, about = seen.keyed_takes_ms, "next job of the long queue, with a request that is signed for its worker"
    yield _measure("next_job_keyed", about, "ms", keyed_ms, latency_summary(keyed_ms))
    heartbeats, submissions = seen.heartbeats, seen.submissions
    yield _one("heartbeat_core_share", "tracker's share of a core with heartbeats", "cores", heartbeats.core_share)
    yield _one("heartbeats_per_s", "heartbeats", "1/s", heartbeats.per_s)
    yield _measure(
        "heartbeat", "heartbeat, from when it was due", "ms", heartbeats.took_ms, latency_summary(heartbeats.took_ms)
    )
    yield _one("submit_per_s", "jobs submitted", "1/s", submissions.per_s)
    yield _measure("submit", "submission of a job", "ms", submissions.took_ms, latency_summary(submissions.took_ms))


def to_tracker_json(result: TrackerBenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by what they are compared with.

    lookup_ratio: requests/s, tracker / bare aiohttp handler, the lower one of regions and nodes, which anybody may look
    up. lookup_ratio_with_key: of a worker, for which the account's key is checked and charged. ``lookups`` has all.
    next_job_p95_ms: of taking a job out of the long queue; next_job_keyed_p95_ms: the same for workers with keys, for
    whom the job's request and a grant on its reservation are signed. heartbeat_core_share: of one core, for all that
    the tracker does while all workers send their heartbeats. submit_per_s: jobs. load: load average of the last minute
    before the start. query_plans: by what is done, each statement that is sent, and the steps of SQLite's plan for it;
    what is answered from memory has none. full_scans, sorts: steps of these that read a whole table or sort it.
    """
    values = {measure.name: measure.values for measure in result.measures}
    ratios = {name.removeprefix("lookup_ratio_"): values[name] for name in values if name.startswith("lookup_ratio_")}
    plans = [plan for of_name in result.plans.values() for plan in of_name]
    return {
        "lookup_ratio": min(ratios[name]["median"] for name in OPEN),
        "lookup_ratio_with_key": ratios[WITH_KEY]["median"],
        "next_job_p95_ms": values["next_job"]["p95"],
        "next_job_keyed_p95_ms": values["next_job_keyed"]["p95"],
        "heartbeat_core_share": values["heartbeat_core_share"]["median"],
        "submit_per_s": values["submit_per_s"]["median"],
        "lookups": {name: dict(ratio) for name, ratio in ratios.items()},
        "full_scans": [step for plan in plans for step in plan.full_scans],
        "sorts": [step for plan in plans for step in plan.sorts],
        "query_plans": plans_to_json(result.plans),
        "load": result.load_before,
        "load_after": result.load_after,
        "settings": dict(result.settings),
        "spread": {name: dict(value) for name, value in values.items()},
        "machine": dict(machine),
    }


def _lookup_measures(name: str, rounds: LookupRounds) -> Iterator[Measure]:
    tracker, bare = rounds.tracker, rounds.bare
    ratios = pair_ratios(_rates(tracker), _rates(bare))
    yield _measure(f"lookup_ratio_{name}", f"look-up of {name}, tracker / bare", "", ratios, spread_summary(ratios))
    for side, paces in (("tracker", tracker), ("bare", bare)):
        rates, cpu_ms = _rates(paces), [pace.cpu_ms for pace in paces]
        yield _measure(f"lookup_{name}_{side}", f"look-up of {name}, {side}", "1/s", rates, spread_summary(rates))
        yield _measure(
            f"lookup_cpu_{name}_{side}", f"processor time of it, {side}", "ms", cpu_ms, spread_summary(cpu_ms)
        )


def _rates(paces: Sequence[Pace]) -> list[float]:
    return [pace.per_s for pace in paces]


def _one(name: str, about: str, unit: str, value: float) -> Measure:
    return Measure(name=name, about=about, unit=unit, count=1, values={"median": value})


def _measure(name: str, about: str, unit: str, values: Sequence[float], summary: Mapping[str, float]) -> Measure:
    return Measure(name=name, about=about, unit=unit, count=len(values), values=summary)
