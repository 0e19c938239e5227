import pytest
from gpunode.errors import NoNodeFound
from gpunode_benchmarks.discovery_client import WARM_QUESTIONS, Durations, Source, measure_client
from gpunode_benchmarks.light_nodes import MODEL

from tests.benchmarks.conftest import LightNetwork

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("source", list(Source))
async def test_a_client_is_cold_once_and_warm_after_that(light_network: LightNetwork, source: Source) -> None:
    """With either source it finds the nodes; the one question with stale probes asks them again."""
    durations = Durations()
    await measure_client(light_network.url, MODEL, source, light_network.folder / source, durations)
    assert (len(durations.cold_ms), len(durations.warm_ms), len(durations.stale_ms)) == (1, WARM_QUESTIONS, 1)
    assert all(value > 0 for value in (*durations.cold_ms, *durations.warm_ms, *durations.stale_ms))


async def test_no_node_is_no_figure(light_network: LightNetwork) -> None:
    """A search that finds nobody must not count as a quick one."""
    durations = Durations()
    with pytest.raises(NoNodeFound):
        await measure_client(light_network.url, "none", Source.DHT, light_network.folder / "none", durations)
    assert durations == Durations()
