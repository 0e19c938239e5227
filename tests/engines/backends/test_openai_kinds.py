"""What is asked of which server, and what its chunks say."""

import pytest
from gpunode_engines.backends.openai_kinds import ServerKind
from gpunode_engines.base import GenerateRequest
from gpunode_engines.errors import InvalidParameters

LLAMA = ServerKind(name="llama.cpp", model="m", context_tokens=512)
VLLM = ServerKind(name="vllm", model="m", context_tokens=4096)
PLAIN = ServerKind(name="plain", model="m", context_tokens=0)


def request(**fields: object) -> GenerateRequest:
    """Return a request."""
    return GenerateRequest(job_key="job", prompt_ids=(1,), max_tokens=9, **fields)  # type: ignore[arg-type]  # -- fields of the request


def test_servers_that_know_more_are_given_more() -> None:
    """Each in its own words."""
    full = request(top_k=5, min_p=0.1, repetition_penalty=1.2, seed=3)
    vllm, llama = VLLM.sampling(full), LLAMA.sampling(full)
    assert (vllm["top_k"], vllm["min_p"], vllm["repetition_penalty"], vllm["seed"]) == (5, 0.1, 1.2, 3)
    assert (llama["top_k"], llama["min_p"], llama["repeat_penalty"]) == (5, 0.1, 1.2)
    assert "repetition_penalty" not in llama
    assert vllm["return_token_ids"]
    assert llama["logprobs"]


def test_a_plain_server_is_asked_for_nothing_that_it_would_ignore() -> None:
    """It is refused by name."""
    assert "top_k" not in PLAIN.sampling(request())
    with pytest.raises(InvalidParameters, match="top_k, min_p"):
        PLAIN.sampling(request(top_k=5, min_p=0.1))


def test_ids_of_chunks() -> None:
    """From log-probabilities, from the list that was asked for, or none."""
    entry = {"id": 7, "logprob": -0.5, "top_logprobs": [{"id": 7, "logprob": -0.5}]}
    ids, logprobs = LLAMA.output_ids({"logprobs": {"content": [entry]}})
    assert (ids, logprobs[0].top) == ((7,), ((7, -0.5),))
    assert VLLM.output_ids({"token_ids": [7, 8]})[0] == (7, 8)
    assert PLAIN.output_ids({"delta": {"content": "x"}}) == ((), ())
