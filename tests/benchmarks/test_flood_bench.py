from dataclasses import replace

import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.flood_bench import measures_of
from gpunode_benchmarks.flood_honest import HonestStreams
from gpunode_benchmarks.flood_rates import Arrival, Span
from gpunode_benchmarks.flood_scene import FloodRun
from gpunode_benchmarks.resident_memory import Resident

SPANS = {"before": Span(0.0, 4.0), "opening": Span(4.0, 6.0), "held": Span(6.0, 10.0), "after": Span(11.0, 15.0)}
FATES = {"opened": 90, "not_opened": 10, "open": 8, "ended_with_reason": 80, "ended_silently": 2}
RUN = FloodRun(
    honest=HonestStreams([Arrival(number / 8, 2.0) for number in range(160) if not 32 <= number < 48], broken=1),
    spans=SPANS,
    memory=((1.0, Resident(90.0, 60.0, 0.0)), (5.0, Resident(90.0, 80.0, 0.0))),
    attacker=FATES,
    restarts=0,
)


def _values(run: FloodRun) -> dict[str, float]:
    return {measure.name: measure.values["median"] for measure in measures_of(run)}


def test_all_figures_of_a_flood() -> None:
    """Nothing came while streams were opened, everything before and after."""
    values = _values(RUN)
    assert values["rate_before"] == 8.0
    assert [values[f"rate_kept_{phase}"] for phase in ("opening", "held", "after")] == [0.0, 1.0, 1.0]
    assert (values["recovery"], values["opening_time"]) == (0.0, 2.0)
    assert values["memory_growth_p2pd"] == pytest.approx(20 * 1.048576)
    assert {name: values[f"streams_{name}"] for name in FATES} == FATES
    assert (values["honest_broken"], values["p2pd_restarts"]) == (1, 0)
    assert values["lag_held"] == 2.0
    assert "lag_opening" not in values  # no token, no lag


def test_streams_that_do_not_recover() -> None:
    """That is infinite, and not a missing figure."""
    silent = replace(RUN, honest=HonestStreams([Arrival(number / 8, 2.0) for number in range(32)]))
    assert _values(silent)["recovery"] == float("inf")


def test_without_a_token_before_there_is_no_result() -> None:
    """The reader is told instead of shown a share of nothing."""
    with pytest.raises(BenchmarkFailed, match="before the flood"):
        _values(replace(RUN, honest=HonestStreams()))
