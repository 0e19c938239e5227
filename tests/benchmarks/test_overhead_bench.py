import itertools
import math

import pytest
from gpunode_benchmarks import overhead_bench
from gpunode_benchmarks.overhead_bench import _affordable_tokens, _measure, _measures, _prompts
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_benchmarks.overhead_paced import Paced
from gpunode_benchmarks.overhead_sides import Outcome, Side
from gpunode_benchmarks.report import Measure


@pytest.fixture
async def measures(overhead: OverheadNetwork, monkeypatch: pytest.MonkeyPatch) -> dict[str, Measure]:
    """Two pairs of everything with the real model; what the paced engine gives has tests of its own."""
    monkeypatch.setattr(overhead_bench, "TTFT_PAIRS", 2)
    monkeypatch.setattr(overhead_bench, "MIN_PAIRS", 2)
    monkeypatch.setattr(overhead_bench, "STREAM_COUNTS", (1, 2))
    monkeypatch.setattr(overhead_bench, "_PHASE_S", {1: 1.0, 2: 1.0})
    monkeypatch.setattr(overhead_bench, "measure_paced", _paced)
    return {measure.name: measure for measure in _measures(await _measure(overhead, 2, ends_at=math.inf))}


async def _paced(*_: object) -> Paced:
    return Paced(lags_ms=(1.0, 3.0), wire_bytes=300, counted_tokens=2)


async def test_every_figure_is_measured(measures: dict[str, Measure]) -> None:
    """On the real network with the real model; beside each ratio stands the noise."""
    counts = {name: measure.count for name, measure in measures.items()}
    assert (counts["ttft_added"], counts["ratio_streams_1"], counts["a_a_streams_1"]) == (2, 2, 1)
    assert (counts["ratio_streams_2"], counts["a_a_streams_2"]) == (2, 1)
    assert min(measures[f"{side}_streams_2"].values["median"] for side in Side) > 0
    assert measures["ttft_network"].values["median"] > 0
    assert measures["lag_streams_32"].values["median"] == 2.0
    assert measures["bytes_per_token"].values["median"] == 150.0


class _SteadySides:
    """Answers as an engine would that reads a prompt in ``prefill_s`` and takes ``step_s`` for each token."""

    def __init__(self, prefill_s: float, step_s: float) -> None:
        self.prefill_s = prefill_s
        self.step_s = step_s
        self.prompts: list[str] = []

    async def run(self, _: Side, prompts: list[str], output_tokens: int) -> Outcome:
        self.prompts += prompts
        return Outcome(self.prefill_s + output_tokens * self.step_s, (self.prefill_s,) * len(prompts))


@pytest.mark.parametrize(
    ("prefill_s", "step_s", "phase_s", "tokens"),
    [(0.1, 0.01, 6.0, 17), (0.0, 0.001, 6.0, 64), (1.0, 0.1, 6.0, 2), (0.1, 0.01, 3.0, 2), (0.0, 0.01, -1.0, 2)],
    ids=["fits", "fast", "slow", "half the time", "no time left"],
)
async def test_the_machine_decides_how_many_tokens_a_run_has(
    prefill_s: float, step_s: float, phase_s: float, tokens: int
) -> None:
    """As many as 20 runs can have in the time, within limits; no prompt is used twice."""
    sides = _SteadySides(prefill_s, step_s)
    affordable = await _affordable_tokens(
        sides,  # type: ignore[arg-type]  # -- a stand-in
        itertools.count(10_000),
        1,
        phase_s=phase_s,
    )
    assert affordable == tokens
    assert len(set(sides.prompts)) == len(sides.prompts)


def test_prompts_are_all_unique_and_of_one_length() -> None:
    """No cache could help, and no side has longer ones."""
    numbers = itertools.count(10_000)
    prompts = [*_prompts(numbers, 8), *_prompts(numbers, 8)]
    assert len(set(prompts)) == 16
    assert len({len(prompt) for prompt in prompts}) == 1
