"""The object that ``gpunode bench engines --json`` prints. Pure."""

from collections.abc import Mapping
from typing import Any

from gpunode_benchmarks.report import BenchResult


def to_engines_json(result: BenchResult, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures by engine.

    ratio: work per second, engine / bare library; higher is better. a_a: bare / bare, the noise of this run; of
    llama.cpp with one stream. scale_8: tokens/s with eight streams / with one; of llama.cpp with weights in a format
    for which it has kernels that take several streams, and beside it in the packaged one, for which it has none.
    load: load average of the last minute before the start.
    """
    values = {measure.name: measure.values for measure in result.measures}

    def of(name: str) -> float:
        return values[name]["median"]

    streams = {"1": "llama.cpp, 1 stream", "8": "llama.cpp, 8 streams"}
    return {
        "llm_llamacpp": {
            "ratio": {count: of(f"{about}: ratio") for count, about in streams.items()},
            "a_a": of("llama.cpp, 1 stream: a_a"),
            "scale_8": of("llama.cpp, 2 threads: scale_8"),
            "scale_8_packaged": of("llama.cpp, 2 threads: scale_8, as packaged"),
        },
        "llm_transformers": {"ratio_1": of("transformers, 1 stream: ratio"), "scale_8": of("transformers: scale_8")},
        "whisper": {"ratio": of("faster-whisper: ratio"), "a_a": of("faster-whisper: a_a")},
        "image_gen": {"ratio": of("diffusers: ratio"), "a_a": of("diffusers: a_a")},
        "load": result.load_before,
        "load_after": result.load_after,
        "settings": dict(result.settings),
        "spread": {measure.name: {"count": measure.count, **measure.values} for measure in result.measures},
        "machine": dict(machine),
    }
