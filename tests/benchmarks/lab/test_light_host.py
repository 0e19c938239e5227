import pytest
from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_network import LabNetwork

from tests.benchmarks.lab.conftest import LIGHT

PATIENCE_S = 60.0


def test_a_light_node_says_who_it_is_when_it_is_announced(network: LabNetwork) -> None:
    """Its region is the world's."""
    run = network.nodes[LIGHT].run
    assert run["region"] == "america"
    assert run["peer_id"].startswith("12D3KooW")


def test_without_a_tracker_it_ends(lab: Lab) -> None:
    """And says why."""
    arguments = {"url": "http://11.1.2.1:8470", "region": "asia", "folder": str(lab.folder_of("london-1") / "l")}
    with pytest.raises(LabFailed, match="TrackerUnreachable"):
        lab.call("london-1", "gpunode_benchmarks.lab.light_host:serve", PATIENCE_S, **arguments)
