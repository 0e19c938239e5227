"""From a request to the engine's order."""

from typing import Any

import pytest
from gpunode_engines.base import EngineInfo, PreparedPrompt, TokenLogprob, Tokens
from gpunode_engines.errors import EngineCrashed, EngineNotReady, TimeLimit
from gpunode_node import llm_jobs
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.requests import Resume
from gpunode_protocol.tasks import Task

from tests.node.world import llm_params, request

INFO = EngineInfo(
    task=Task.LLM,
    model="fake",
    backend="fake",
    backend_version="0",
    fingerprint=b"f" * 32,
    weights_digest=bytes(32),
    quantisation="none",
    context_tokens=100,
    slots=1,
    memory_bytes=0,
    device="cpu",
)
PROMPT = PreparedPrompt(token_ids=(1, 2, 3), rendered=b"user: hello")


def _resume(**changes: Any) -> Resume:
    fields: dict[str, Any] = {
        "ids": (7, 8),
        "text_offset": 2,
        "prompt_digest": salted_digest(b"s" * 32, "prompt", PROMPT.rendered),
    }
    return Resume(**fields | changes)


def test_sampling_parameters() -> None:
    """Millionths become fractions; everything that was signed reaches the engine."""
    params = llm_params(
        temperature_millionths=700_000,
        top_p_millionths=900_000,
        top_k=40,
        min_p_millionths=50_000,
        repetition_penalty_millionths=1_100_000,
        presence_penalty_millionths=-500_000,
        seed=5,
        stop=("END",),
        logprobs=2,
    )
    body = request(params=params, resume=_resume()).body
    order = llm_jobs.generate_request(body, llm_jobs.llm_params_of(body), PROMPT, job_key="k", deadline_s=9.0)
    assert (order.temperature, order.top_p, order.top_k, order.min_p) == (0.7, 0.9, 40, 0.05)
    assert (order.repetition_penalty, order.presence_penalty, order.seed) == (1.1, -0.5, 5)
    assert (order.stop, order.logprobs, order.max_tokens, order.deadline_s) == (("END",), 2, 16, 9.0)
    assert (order.resume_ids, order.text_offset) == ((7, 8), 2)
    assert order.cache_owner == body.client


@pytest.mark.parametrize(
    ("params", "named"),
    [
        (llm_params(tools="[]"), "tools"),
        (llm_params(json_schema="{}"), "json_schema"),
        (llm_params(messages=({"role": "tool", "content": "x"},)), "tool messages"),
    ],
)
def test_what_the_engine_cannot_do(params: dict[str, Any], named: str) -> None:
    """It is refused by name, not ignored."""
    with pytest.raises(JobError, match=named) as caught:
        llm_jobs.llm_params_of(request(params=params).body)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS


def test_other_tasks() -> None:
    """A task without an engine here is an unknown model."""
    with pytest.raises(JobError) as caught:
        llm_jobs.llm_params_of(request(task="embedding", params={"inputs": ("a",)}).body)
    assert caught.value.code is ErrorCode.UNKNOWN_MODEL


def test_weights() -> None:
    """A named fingerprint must be the loaded one, and a resumed job must name it."""
    llm_jobs.check_weights(request(fingerprint=b"f" * 32, resume=_resume()).body, INFO)
    with pytest.raises(JobError) as caught:
        llm_jobs.check_weights(request(fingerprint=b"g" * 32).body, INFO)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.FINGERPRINT_MISMATCH, True)
    with pytest.raises(JobError) as caught:
        llm_jobs.check_weights(request(resume=_resume()).body, INFO)
    assert caught.value.code is ErrorCode.RESUME_REFUSED


def test_prompts() -> None:
    """The digest is salted; prompt, resumed ids and max_tokens must fit together."""
    body = request().body
    params = llm_jobs.llm_params_of(body)
    assert llm_jobs.check_prompt(body, params, PROMPT, 19) == salted_digest(body.salt, "prompt", PROMPT.rendered)
    for case in (request(), request(resume=_resume())):
        with pytest.raises(JobError) as caught:
            llm_jobs.check_prompt(case.body, params, PROMPT, 18 if case.body.resume is None else 20)
        assert caught.value.code is ErrorCode.CONTEXT_OVERFLOW
    with pytest.raises(JobError) as caught:
        llm_jobs.check_prompt(request(resume=_resume(prompt_digest=bytes(32))).body, params, PROMPT, 100)
    assert caught.value.code is ErrorCode.RESUME_REFUSED


def test_log_probabilities() -> None:
    """Figures that the backend did not give are left out, not invented."""
    logprobs = (TokenLogprob(token_id=1, logprob=None), TokenLogprob(token_id=2, logprob=-0.5, top=((2, -0.5),)))
    wired = llm_jobs.wire_logprobs(Tokens(ids=(1, 2), text="a", logprobs=logprobs))
    assert wired is not None
    assert [(entry.id, entry.logprob) for entry in wired] == [(2, -0.5)]
    assert llm_jobs.wire_logprobs(Tokens(ids=(1,), text="a")) is None


def test_engine_errors() -> None:
    """Each has its wire code; what may be retried says so."""
    for error, code, retryable in (
        (EngineCrashed("gone"), ErrorCode.ENGINE_FAILED, True),
        (EngineNotReady(), ErrorCode.BUSY, True),
        (TimeLimit(), ErrorCode.TIME_LIMIT, True),
    ):
        wired = llm_jobs.job_error_of_engine(error)
        assert (wired.code, wired.retryable) == (code, retryable)
    assert llm_jobs.job_error_of_engine(EngineNotReady()).retry_after_s == llm_jobs.RETRY_AFTER_S
