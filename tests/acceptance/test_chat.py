"""A client streams a real model's answer straight from a node that it found in the DHT."""

import pytest
from gpunode import InferenceClient

from tests.acceptance.network import MODEL, Network
from tests.acceptance.processes import wait_until

pytestmark = pytest.mark.acceptance

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_an_answer_comes_from_a_node_found_in_the_dht(network: Network, client: InferenceClient) -> None:
    """The answer is the model's, its receipt verifies, and the route says where it came from."""
    result = client.chat(messages=QUESTION, model=MODEL, max_tokens=24, temperature=0)
    assert "Paris" in result.response
    assert result.receipt.verified
    assert result.usage.completion_tokens == len(result.ids)
    assert result.route.source == "dht"
    assert result.route.node in {node.run["peer_id"] for node in network.nodes.values()}


def test_the_ledger_proves_the_receipt(client: InferenceClient) -> None:
    """A finished job is settled and its receipt can be proven soon after."""
    result = client.chat(messages=QUESTION, model=MODEL, max_tokens=8, temperature=0)

    def proof() -> object:
        try:
            return client.receipt_proof(result.receipt.id)
        except Exception:  # noqa: BLE001 -- not there yet
            return None

    assert wait_until(proof, "the receipt is in the ledger")
