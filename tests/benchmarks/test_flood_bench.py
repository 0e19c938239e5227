from dataclasses import replace

import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.flood_bench import measures_of, run_flood_bench
from gpunode_benchmarks.flood_honest import HonestStreams
from gpunode_benchmarks.flood_rates import Arrival, Span
from gpunode_benchmarks.flood_scene import Durations, FloodRun, attacker_of, flood
from gpunode_benchmarks.overhead_network import OverheadNetwork
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

SOME_STREAMS = 1_500
"""Three times as many as a peer may have open, refused ones included."""
SHORT = Durations(warm_up_s=1.0, before_s=2.0, held_s=2.0, after_s=3.0)


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


async def test_honest_streams_keep_their_rate_while_one_peer_opens_many(overhead: OverheadNetwork) -> None:
    """The short form of the flood below; its shares are of a paced engine's rate, too."""
    with attacker_of(overhead, nice=0) as attacker:  # else a busy machine leaves it no time to attack
        values = _values(await flood(overhead, attacker, SOME_STREAMS, SHORT))
    print(values)  # noqa: T201 -- the figures
    assert values["streams_opened"] >= SOME_STREAMS / 2  # the node cuts some before they are open
    assert min(values["rate_kept_opening"], values["rate_kept_held"]) >= 0.8
    assert values["recovery"] <= SHORT.after_s
    assert values["memory_growth_node"] + values["memory_growth_p2pd"] < 150
    assert (values["honest_broken"], values["p2pd_restarts"]) == (0, 0)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_honest_streams_keep_their_rate_while_one_peer_opens_five_thousand() -> None:
    """At least 80 % meanwhile, all of it within 10 s after, no job broken; memory grows by less than 150 MB.

    Rates are shares of the same run's rate before, and the engine is paced, so that the machine's speed does not count.
    """
    values = {measure.name: measure.values["median"] for measure in run_flood_bench().measures}
    print(values)  # noqa: T201 -- the figures
    assert values["streams_opened"] >= 4_000
    assert min(values["rate_kept_opening"], values["rate_kept_held"]) >= 0.8
    assert values["recovery"] <= 10
    assert values["memory_growth_node"] + values["memory_growth_p2pd"] < 150
    assert (values["honest_broken"], values["p2pd_restarts"]) == (0, 0)
