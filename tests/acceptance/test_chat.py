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


def test_greedy_answers_are_the_same_everywhere(client: InferenceClient) -> None:
    """The same weights give the same likeliest tokens on two nodes."""
    asia, europe = (
        client.chat(messages=QUESTION, region=region, max_tokens=16, temperature=0) for region in ("asia", "europe")
    )
    assert asia.route.node != europe.route.node
    assert (asia.ids, asia.response) == (europe.ids, europe.response)


def test_a_seed_repeats_an_answer(client: InferenceClient) -> None:
    """The same seed at the same node draws the same tokens, another one others."""
    first, again, other = (
        client.chat(messages=QUESTION, region="asia", max_tokens=16, temperature=1.5, seed=seed) for seed in (7, 7, 8)
    )
    assert first.ids == again.ids != other.ids


def test_a_stop_text_ends_the_answer(client: InferenceClient) -> None:
    """It is not part of the answer."""
    result = client.chat(messages=QUESTION, max_tokens=24, temperature=0, stop="Paris")
    assert result.finish_reason == "stop"
    assert "Paris" not in result.response


def test_text_of_any_language_survives(client: InferenceClient) -> None:
    """What is not ASCII arrives whole on both ways, though tokens cut characters in pieces."""
    question = [{"role": "user", "content": "Repeat exactly: 東京 Zürich 🚀🚀🚀 Привет"}]
    with client.chat(messages=question, max_tokens=48, temperature=0, stream=True) as chunks:
        text = "".join(chunk.text for chunk in chunks)
    assert text == chunks.result.response
    assert not text.isascii()
    assert "\ufffd" not in text


def test_other_participants_know_a_model_by_other_names(client: InferenceClient) -> None:
    """A name in another case or spelling finds the same model."""
    assert client.chat(messages=QUESTION, model="SmolLM2-135M-Instruct", max_tokens=1).model == MODEL


def test_nodes_are_listed(network: Network, client: InferenceClient) -> None:
    """Every node is there with its region, speed and load."""
    listed = {info.node: info for info in client.nodes()}
    assert {node.run["peer_id"]: region for region, node in network.nodes.items()} == {
        peer: info.region for peer, info in listed.items()
    }
    assert all(info.tokens_per_s > 1 and info.slots and info.rtt_ms is not None for info in listed.values())
