import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.failover_network import MODEL, FailoverNetwork, failover_network
from gpunode_protocol.identity import Identity


@pytest.mark.full
def test_a_killed_node_is_back_after_a_start(failover: FailoverNetwork) -> None:
    """Under its old identity; until then it counts as dead, and its ledger goes on."""
    failover.start_killed()
    before = {node.node for node in failover.client.nodes(model=MODEL)}
    assert failover.alive == len(before)
    victim = min(before)
    failover.kill(victim)
    assert failover.alive == len(before) - 1
    assert failover.all_handed_in()  # those that run
    failover.start_killed()
    assert failover.alive == len(before)
    back = {node.node for node in failover.client.nodes(model=MODEL) if node.rtt_ms is not None}
    assert back == before
    assert "issue" in {entry.kind for entry in failover.ledger_entries()}


@pytest.mark.full
def test_only_own_nodes_can_be_killed(failover: FailoverNetwork) -> None:
    """An unknown peer id is a mistake of the caller's."""
    with pytest.raises(StopIteration):
        failover.kill(Identity.generate().peer_id)


@pytest.mark.full
def test_a_network_that_does_not_come_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of the process that ended."""
    monkeypatch.setattr("gpunode_benchmarks.failover_network.MODEL", "no-such-model")
    with pytest.raises(BenchmarkFailed, match="no-such-model"), failover_network(1):
        pass
