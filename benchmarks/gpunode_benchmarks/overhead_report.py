"""The object that ``gpunode bench overhead --json`` prints. Pure."""

from collections.abc import Mapping
from typing import Any

from gpunode_benchmarks.overhead_paced import STREAMS, TOKEN_INTERVAL_MS
from gpunode_benchmarks.report import BenchResult

_STREAM_COUNTS = (1, 8)


def to_overhead_json(result: BenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by what they are compared with.

    ttft_added_ms: first token through the network less that of a direct call. throughput_ratio: tokens/s, network /
    direct; a_a: direct / direct, the noise of this run. load: load average of the last minute before the start.
    lag_ms, by streams at once, and bytes_per_token (a token of 6 bytes): with the paced engine.
    """
    values = {measure.name: measure.values for measure in result.measures}
    return {
        "ttft_added_ms": dict(values["ttft_added"]),
        "throughput_ratio": {str(count): values[f"ratio_streams_{count}"]["median"] for count in _STREAM_COUNTS},
        "a_a": {str(count): values[f"a_a_streams_{count}"]["median"] for count in _STREAM_COUNTS},
        "load": result.load_before,
        "lag_ms": {str(STREAMS): dict(values[f"lag_streams_{STREAMS}"])},
        "bytes_per_token": values["bytes_per_token"]["median"],
        "load_after": result.load_after,
        "paced": {
            "measures": ["lag_ms", "bytes_per_token"],
            "engine": f"computes nothing, one token every {TOKEN_INTERVAL_MS} ms",
        },
        "settings": dict(result.settings),
        "spread": {name: dict(value) for name, value in values.items()},
        "machine": dict(machine),
    }
