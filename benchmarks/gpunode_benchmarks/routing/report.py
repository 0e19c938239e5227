"""The object that ``gpunode bench routing --json`` prints. Pure."""

from collections.abc import Mapping
from typing import Any

from gpunode_benchmarks.report import BenchResult, Measure
from gpunode_benchmarks.routing.bench import PHASES, START_PARTS


def to_routing_json(result: BenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by what an operator asks.

    within_20ms: share of jobs whose node was due to answer at most 20 ms later than the best one, by the queues as they
    were at the nodes when the client chose. regret_ms: how much later. calm, crowded: the same of each phase.
    hindsight: the same of all jobs, by the queues as each job found them, with what was on its way when it chose.
    over_floor_ms: what the first token took beyond one round trip of the world, the queue and reading the prompt, in
    the calm phase; found_ms: what of it choosing took.
    first_contact_round_trips: what the first token took at a node that the client knew of but had no connection to, in
    round trips to it. first_job_ms: what a client's first token of all took, with the parts of it, one after the other;
    both beyond queue and prompt.
    through_tracker_ms: the same small job straight to a node and through the tracker's queue, medians: first token and
    whole answer, and what the tracker added to each.
    disturbed: jobs that more than one node was asked for, because the first one failed or took long to begin; no other
    figure counts them.
    """
    measures = {measure.name: measure for measure in result.measures}

    def summary(prefix: str) -> dict[str, Any]:
        good, regret = measures[f"{prefix}within_20ms"], measures[f"{prefix}regret"]
        return {"jobs": good.count, "within_20ms": good.values["median"], "regret_ms": dict(regret.values)}

    return {
        **summary(""),
        **{phase: summary(f"{phase}_") for phase in (*PHASES, "hindsight")},
        "over_floor_ms": dict(measures["over_floor"].values),
        "found_ms": dict(measures["found"].values),
        "through_tracker_ms": _through_tracker(measures),
        "first_contact_round_trips": dict(measures["first_contact"].values),
        "first_job_ms": {
            "whole": dict(measures["first_job"].values),
            **{part: dict(measures[f"first_job_{part}"].values) for part in (*START_PARTS, "job")},
        },
        "disturbed": int(measures["disturbed"].values["median"]),
        "load": result.load_before,
        "load_after": result.load_after,
        "settings": dict(result.settings),
        "machine": dict(machine),
    }


def _through_tracker(measures: Mapping[str, Measure]) -> dict[str, dict[str, float]]:
    return {
        part: {
            "direct": measures[f"direct_{part}"].values["median"],
            "through_tracker": measures[f"queued_{part}"].values["median"],
            "added": measures[f"queued_{part}"].values["median"] - measures[f"direct_{part}"].values["median"],
        }
        for part in ("first", "whole")
        if f"direct_{part}" in measures
    }
