import json

from gpunode_benchmarks.engines.report import to_engines_json
from gpunode_benchmarks.engines.turns import measure, side_measures
from gpunode_benchmarks.report import BenchResult


def test_the_figures_stand_below_their_engines() -> None:
    """Programs find ratio, noise and scale by name; settings and spread stand beside them."""
    measures = []
    for number, about in enumerate(
        ("llama.cpp, 1 stream", "llama.cpp, 8 streams", "transformers, 1 stream", "faster-whisper", "diffusers"), 1
    ):
        seconds = {"bare": [1.0], "engine": [1.0 / number]}
        if about not in {"llama.cpp, 8 streams", "transformers, 1 stream"}:
            seconds["bare_again"] = [0.1 / number]
        measures += side_measures(seconds, work=1, unit="x/s", about=about)
    measures += [
        measure("transformers: scale_8", "x", [6.0]),
        measure("llama.cpp, 2 threads: scale_8", "x", [7.0]),
        measure("llama.cpp, 2 threads: scale_8, as packaged", "x", [8.0]),
    ]
    result = BenchResult(
        bench="engines", about="", settings={"threads": 1}, measures=tuple(measures), load_before=0.5, load_after=1.0
    )
    figures = json.loads(json.dumps(to_engines_json(result, {"system": "Linux"})))
    assert {name: figures[name] for name in ("llm_llamacpp", "llm_transformers", "whisper", "image_gen")} == {
        "llm_llamacpp": {"ratio": {"1": 1.0, "8": 2.0}, "a_a": 10.0, "scale_8": 7.0, "scale_8_packaged": 8.0},
        "llm_transformers": {"ratio_1": 3.0, "scale_8": 6.0},
        "whisper": {"ratio": 4.0, "a_a": 40.0},
        "image_gen": {"ratio": 5.0, "a_a": 50.0},
    }
    assert (figures["load"], figures["load_after"], figures["machine"]) == (0.5, 1.0, {"system": "Linux"})
    assert figures["spread"]["diffusers: ratio"] == {"count": 1, "median": 5.0, "p25": 5.0, "p75": 5.0}
