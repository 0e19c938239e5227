import pytest
from gpunode_benchmarks.discovery_bench import run_discovery_bench


@pytest.mark.full
def test_every_size_and_source_has_its_figures() -> None:
    """The names that programs rely on, each with a value of every client."""
    result = run_discovery_bench(1, (1, 2))
    assert [measure.name for measure in result.measures] == [
        f"{kind}_{source}_{count}"
        for count in (1, 2)
        for source in ("dht", "dht_and_index")
        for kind in ("cold", "warm", "warm_stale")
    ]
    assert all(0 < measure.values["median"] <= measure.values["p95"] for measure in result.measures)
    assert {measure.count for measure in result.measures if measure.name.startswith("cold")} == {1}
