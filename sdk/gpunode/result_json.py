"""What ``--json`` prints of any job: who answered, how long it took, and the receipt."""

from typing import Any

from gpunode.types import JobResult, Route


def job_as_json(result: JobResult) -> dict[str, Any]:
    """Return what every result states, as JSON values."""
    return {
        "model": result.model,
        "finish_reason": result.finish_reason,
        "route": route_as_json(result.route),
        "found_ms": round(result.found_ms, 1),
        "ttft_ms": round(result.ttft_ms, 1),
        "receipt": {"id": result.receipt.id, "verified": result.receipt.verified},
    }


def route_as_json(route: Route) -> dict[str, Any]:
    """Return a route as JSON values."""
    return {
        "node_id": route.node,
        "region": route.region,
        "rtt_ms": None if route.rtt_ms is None else round(route.rtt_ms, 3),
        "path": route.path,
        "source": route.source,
        "failed": [
            {"node_id": failed.node, "region": failed.region, "reason": failed.reason} for failed in route.failed
        ],
        "segments": [
            {"node_id": part.node, "region": part.region, "output_units": part.output_units, "ended": part.ended}
            for part in route.segments
        ],
    }
