import pytest
from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_network import LabNetwork

from tests.benchmarks.lab.conftest import HOSTS, LIGHT, MODEL

PATIENCE_S = 60.0

#: What p2pd, two event loops and a busy machine may add to a round trip.
TOLERANCE_MS = 60


def _fits(measured_ms: float, lab: Lab, *hosts: str) -> bool:
    expected_ms = lab.world.round_trip_ms(*hosts)
    return expected_ms <= measured_ms <= expected_ms + TOLERANCE_MS


@pytest.mark.parametrize(
    ("client", "node"), [("seoul-1", "tokyo-1"), ("oregon-1", "tokyo-1"), ("london-1", "frankfurt-1")]
)
def test_a_client_gets_its_answer_from_the_nearest_node(network: LabNetwork, client: str, node: str) -> None:
    """From another region too; what it measured on the way is the world's round trip."""
    arguments = network.client_of(client)
    answer = network.lab.call(client, f"{HOSTS}:ask", PATIENCE_S, client=arguments, model=MODEL, tokens=5)
    assert answer["node"] == network.nodes[node].run["peer_id"]
    assert answer["tokens"] == 5
    assert answer["path"] == "direct"
    assert _fits(answer["rtt_ms"], network.lab, client, node)


def test_light_nodes_are_found_and_probed(network: LabNetwork) -> None:
    """Their distance is the world's."""
    arguments = network.client_of("virginia-1")
    found = network.lab.call("virginia-1", f"{HOSTS}:find", PATIENCE_S, client=arguments, model="light-model")
    assert set(found) == {network.nodes[LIGHT].run["peer_id"]}
    [rtt_ms] = found.values()
    assert _fits(rtt_ms, network.lab, "virginia-1", LIGHT)


def test_a_node_that_does_not_come_up_says_why(network: LabNetwork) -> None:
    """With the last words of what failed; the others go on."""
    with pytest.raises(LabFailed, match=r"(?s)mumbai-1: n ended early.*no-such-model"):
        network.start_nodes(["mumbai-1"], "no-such-model")
    assert [node.program.exit_code for node in network.nodes.values()] == [None] * 3
