"""The object that ``gpunode bench tracker --json`` prints. Pure."""

from collections.abc import Mapping
from typing import Any

from gpunode_benchmarks.report import BenchResult


def to_tracker_json(result: BenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by what an operator asks.

    lookup_ratio: requests/s of the tracker / those of a bare handler with the same bytes, of the kind of look-up at
    which it is lowest; ``lookups`` has all kinds. next_job_p95_ms: on the whole queue. heartbeat_core_share: of one
    core, with all that the tracker does by itself; idle_core_share: the same without heartbeats. load: load average of
    the last minute before the start.
    """
    values = {measure.name: measure.values for measure in result.measures}
    kinds = [name.removesuffix("_cpu_ratio") for name in values if name.endswith("_cpu_ratio")]
    return {
        "lookup_ratio": values["lookup_ratio"]["median"],
        "next_job_p95_ms": values["next_job"]["p95"],
        "heartbeat_core_share": values["heartbeat_core_share"]["median"],
        "submit_per_s": values["submit_per_s"]["median"],
        "next_job_median_ms": values["next_job"]["median"],
        "idle_core_share": values["idle_core_share"]["median"],
        "lookups": {
            kind: {part: values[f"{kind}_{part}"]["median"] for part in ("ratio", "cpu_ratio", "tracker", "bare")}
            for kind in kinds
        },
        "load": result.load_before,
        "load_after": result.load_after,
        "settings": dict(result.settings),
        "machine": dict(machine),
    }
