"""The network without its tracker."""

import pytest
from gpunode import InferenceClient
from gpunode.errors import TrackerError

from tests.acceptance.network import Network, settlements, status_of, wait_settled
from tests.acceptance.processes import json_of, wait_until

pytestmark = pytest.mark.acceptance

STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]


def test_a_client_without_tracker(network: Network) -> None:
    """A new process with a grant from before finds a node in the DHT, though the bootstrap peer is dead too."""
    ask = ("chat", "What is the capital of France?", "--max-tokens", "16", "--temperature", "0", "--json")
    json_of(network.command(*ask, state="survivor"))
    wait_until(lambda: _found_in_dht(network), "the client finds nodes in the DHT, as always", 60)
    network.tracker.kill_all()
    try:
        answer = json_of(network.command(*ask, state="survivor"))
    finally:
        network.revive_tracker()
    assert answer["route"]["source"] == "dht"
    assert "Paris" in answer["answer"]
    assert answer["receipt"]["verified"]


def test_a_tracker_killed_during_a_job(network: Network, client: InferenceClient) -> None:
    """The job goes on to its end; its receipt waits at the node and is settled once when the tracker is back."""
    with client.chat(messages=STORY, max_tokens=150, temperature=0, stream=True) as chunks:
        next(chunks)
        network.tracker.kill_all()
        try:
            rest = list(chunks)
            result = chunks.result
            assert rest
            assert result.receipt.verified
            node = network.node_of(result.route.node)
            wait_until(lambda: status_of(node)["outbox"]["ready"], "the receipt waits in the outbox")
        finally:
            network.revive_tracker()
    entries = wait_settled(client, result.job)
    assert wait_until(lambda: _proof(client, result.receipt.id), "the ledger proves the receipt")
    assert settlements(client, job=result.job) == entries
    assert len(entries) == 1


def _found_in_dht(network: Network) -> bool:
    nodes = json_of(network.command("nodes", "--json", state="survivor"))
    return bool(nodes) and all(node["source"] == "dht" for node in nodes)


def _proof(client: InferenceClient, receipt_id: str) -> object:
    try:
        return client.receipt_proof(receipt_id)
    except TrackerError:
        return None
