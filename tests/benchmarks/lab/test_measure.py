import json

import pytest
from gpunode_benchmarks.lab import measure
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.measure import ROUNDS, deviation_ms, measure_lab
from gpunode_benchmarks.lab.world import World
from gpunode_benchmarks.report import to_json

from tests.benchmarks.lab.conftest import SMALL_WORLD


@pytest.mark.parametrize(
    ("measured_ms", "expected_ms"), [(119.0, 1.0), (120.0, 0.0), (124.0, 0.0), (128.0, 0.0), (131.5, 3.5)]
)
def test_a_deviation_is_what_the_world_does_not_explain(measured_ms: float, expected_ms: float) -> None:
    """Too fast counts like too slow; jitter is explained."""
    world = World.model_validate(SMALL_WORLD.model_dump() | {"jitter_ms": 8})
    assert deviation_ms(world, "tokyo-1", "london-1", measured_ms) == pytest.approx(expected_ms)


def test_the_lab_keeps_the_worlds_delays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair is pinged in both directions; on an idle machine the middle deviation is far below 1 ms."""
    monkeypatch.setattr(measure, "SENDING_S", 1.0)
    result = measure_lab(lab)
    measures = {one.name: one for one in result.measures}
    assert measures["deviation"].count == 6 * ROUNDS
    assert measures["deviation"].values["median"] <= 10
    assert measures["late_share_pinging"].count >= 2 * 6 * ROUNDS
    assert measures["late_share_pinging"].values["median"] <= 0.05
    assert 120 <= measures["rtt_asia_europe"].values["median"] < 160
    assert measures["megabits_nearest"].values["median"] >= 50
    assert set(json.loads(json.dumps(to_json([result], {})))["benches"]) == {"lab"}
