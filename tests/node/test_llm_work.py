"""From a request to the engine's order."""

from dataclasses import replace
from typing import Any

import pytest
from gpunode_engines.abilities import ALL_ABILITIES
from gpunode_engines.base import EngineInfo, PreparedPrompt, TokenLogprob, Tokens
from gpunode_node import llm_work
from gpunode_node.work import JobOrder
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import LlmParams, Usage
from gpunode_protocol.requests import JobRequest, Resume
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task

from tests.engines.fake_engine import FakeEngine
from tests.node.world import llm_params, request

INFO = EngineInfo(
    abilities=ALL_ABILITIES,
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


def _params(body: JobRequest) -> LlmParams:
    params = body.read_params()
    assert isinstance(params, LlmParams)
    return params


def _work(signed: Signed[JobRequest]) -> llm_work.LlmWork:
    return llm_work.LlmWork(signed.body, _params(signed.body), INFO)


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
    order = llm_work.generate_request(body, _params(body), PROMPT, job_key="k", deadline_s=9.0)
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
        (llm_params(logprobs=0), "logprobs"),
        (llm_params(tools="[]", tool_choice='"required"'), "tools, tool_choice"),
        (llm_params(messages=({"role": "tool", "content": "x"},)), "tools"),
    ],
)
def test_what_the_engine_cannot_do(params: dict[str, Any], named: str) -> None:
    """It is refused by name, not ignored, and another node may be tried."""
    body = request(params=params).body
    with pytest.raises(JobError, match=f"cannot serve {named};") as caught:
        llm_work.LlmWork(body, _params(body), replace(INFO, abilities=()))
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.INVALID_PARAMETERS, True)


def test_a_choice_among_no_tools_is_refused() -> None:
    """There is nothing to choose."""
    with pytest.raises(JobError, match="tool_choice needs tools"):
        _work(request(params=llm_params(tool_choice='"auto"')))


@pytest.mark.parametrize("params", [llm_params(tools="[]"), llm_params(json_schema="{}"), llm_params(logprobs=1)])
def test_structured_answers_are_not_resumed(params: dict[str, Any]) -> None:
    """They start anew."""
    with pytest.raises(JobError, match="cannot be resumed") as caught:
        _work(request(params=params, resume=_resume()))
    assert caught.value.code is ErrorCode.RESUME_REFUSED


def test_conversations_with_tools_reach_the_engine() -> None:
    """With calls, their results and what they answer."""
    params = llm_params(
        messages=(
            {"role": "assistant", "tool_calls": "[]"},
            {"role": "tool", "content": "20 C", "tool_call_id": "1", "name": "weather"},
        ),
        tools="[1]",
        tool_choice='"auto"',
    )
    body = request(params=params).body
    prepared = llm_work.prepare_request(_params(body))
    assert (prepared.tools, prepared.tool_choice, prepared.messages[0].tool_calls) == ("[1]", '"auto"', "[]")
    assert (prepared.messages[1].name, prepared.messages[1].tool_call_id) == ("weather", "1")
    order = llm_work.generate_request(body, _params(body), PROMPT, job_key="k", deadline_s=9.0)
    assert (order.tools, order.tool_choice) == ("[1]", '"auto"')


def test_prompts() -> None:
    """The digest is salted; prompt, resumed ids and max_tokens must fit together."""
    body = request().body
    params = _params(body)
    assert llm_work.check_prompt(body, params, PROMPT, 19) == salted_digest(body.salt, "prompt", PROMPT.rendered)
    for case in (request(), request(resume=_resume())):
        with pytest.raises(JobError) as caught:
            llm_work.check_prompt(case.body, params, PROMPT, 18 if case.body.resume is None else 20)
        assert caught.value.code is ErrorCode.CONTEXT_OVERFLOW
    with pytest.raises(JobError) as caught:
        llm_work.check_prompt(request(resume=_resume(prompt_digest=bytes(32))).body, params, PROMPT, 100)
    assert caught.value.code is ErrorCode.RESUME_REFUSED


def test_log_probabilities() -> None:
    """Figures that the backend did not give are left out, not invented."""
    logprobs = (TokenLogprob(token_id=1, logprob=None), TokenLogprob(token_id=2, logprob=-0.5, top=((2, -0.5),)))
    wired = llm_work.wire_logprobs(Tokens(ids=(1, 2), text="a", logprobs=logprobs))
    assert wired is not None
    assert [(entry.id, entry.logprob) for entry in wired] == [(2, -0.5)]
    assert llm_work.wire_logprobs(Tokens(ids=(1,), text="a")) is None


async def test_a_job_from_prompt_to_usage() -> None:
    """The prompt is counted once by the engine's tokenizer; resumed ids are billed as input and listed apart."""
    engine = FakeEngine()
    await engine.start()
    prompt = await engine.prepare(llm_work.prepare_request(_params(request().body)))
    digest = salted_digest(b"s" * 32, "prompt", prompt.rendered)
    work = _work(request(resume=_resume(prompt_digest=digest), fingerprint=b"f" * 32))
    prepared = await work.prepare(engine)
    tokens = len(prompt.token_ids)
    assert (prepared.input_tokens, prepared.input_units, prepared.digest) == (tokens, tokens + 2, digest)
    assert work.order(JobOrder(job_key="k", deadline_s=1.0, inputs={})).prompt_ids == prompt.token_ids
    output = OutputLog(b"s" * 32, work.params)
    output.add_tokens((1, 2, 3), "abc")
    assert work.usage(prepared, output) == Usage(input_tokens=tokens, output_tokens=3, resumed_tokens=2)
    assert work.time_limit_s(300.0) == 300.0
