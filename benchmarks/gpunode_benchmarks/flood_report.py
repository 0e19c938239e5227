"""The object that ``gpunode bench flood --json`` prints. Pure."""

import math
from collections.abc import Mapping
from typing import Any, Final

from gpunode_benchmarks.report import BenchResult

_ATTACKED: Final = ("opening", "held", "after")
_FATES: Final = ("opened", "not_opened", "open", "ended_with_reason", "ended_silently")


def to_flood_json(result: BenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by what an operator asks.

    rate_kept: the honest streams' tokens/s in each phase / before. recovery_s: from the attacker's close to the first
    second with 95 % of the rate; null when there was none. memory_growth_mb: highest during the flood and after it,
    less what there was before. streams: asked for by the attacker. refused: those not open any more, or never, when it
    let go; ``fates`` counts how. load: load average of the last minute before the start.
    """
    values = {measure.name: measure.values for measure in result.measures}
    one = {name: value["median"] for name, value in values.items()}
    streams = int(result.settings["streams"])
    return {
        "rate_kept": {name: one[f"rate_kept_{name}"] for name in _ATTACKED},
        "recovery_s": one["recovery"] if math.isfinite(one["recovery"]) else None,
        "memory_growth_mb": {name: one[f"memory_growth_{name}"] for name in ("node", "p2pd")},
        "streams": streams,
        "refused": streams - int(one["streams_open"]),
        "load": result.load_before,
        "load_after": result.load_after,
        "fates": {name: int(one[f"streams_{name}"]) for name in _FATES},
        "opening_s": one["opening_time"],
        "rate_before_per_s": one["rate_before"],
        "lag_ms": {name.removeprefix("lag_"): dict(value) for name, value in values.items() if name.startswith("lag_")},
        "honest_broken": int(one["honest_broken"]),
        "p2pd_restarts": int(one["p2pd_restarts"]),
        "engine": f"paced: computes nothing, one token every {result.settings['paced_token_interval_ms']} ms",
        "settings": dict(result.settings),
        "machine": dict(machine),
    }
