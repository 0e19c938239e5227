import pytest
from gpunode_benchmarks.flood_bench import measures_of
from gpunode_benchmarks.flood_scene import Durations, attacker_of, flood
from gpunode_benchmarks.overhead_network import OverheadNetwork

STREAMS = 60
SHORT = Durations(warm_up_s=0.5, before_s=1.0, held_s=0.5, look_s=30.0, after_s=1.5)
"""By the end of such a look the node has ended even those that are silent."""


@pytest.mark.full
async def test_a_small_flood_of_a_running_node(overhead: OverheadNetwork) -> None:
    """Every stream of the attacker is accounted for, honest ones go on, and each phase has its figures."""
    with attacker_of(overhead, nice=0) as attacker:
        run = await flood(overhead, attacker, STREAMS, SHORT)
    fates = run.attacker
    assert fates["opened"] + fates["not_opened"] == STREAMS
    assert fates["ended_with_reason"] > 0
    assert fates["ended_with_reason"] + fates["ended_silently"] == fates["opened"]
    assert fates["open"] == 0
    assert (run.honest.broken, run.restarts) == (0, 0)
    assert list(run.spans) == ["before", "opening", "held", "after"]
    names = {measure.name for measure in measures_of(run)}
    assert {"rate_kept_held", "recovery", "memory_growth_node", "lag_before"} <= names
