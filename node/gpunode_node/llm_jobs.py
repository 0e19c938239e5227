"""From a signed request to what the engine is asked, and from the engine's words to the wire's. Text only, so far."""

from gpunode_engines.base import (
    ChatMessage,
    EngineInfo,
    GenerateRequest,
    PreparedPrompt,
    PrepareRequest,
    Tokens,
)
from gpunode_engines.errors import EngineError
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import TokenLogprob
from gpunode_protocol.payloads import MILLION, LlmParams, Params
from gpunode_protocol.requests import JobRequest

RETRY_AFTER_S = 2.0
"""When an engine that is being restarted may be asked again."""


def llm_params_of(request: JobRequest) -> LlmParams:
    """Return the parameters of a text job that this node's engines can serve.

    Raises:
        JobError: ``unknown_task``, ``unknown_model`` (a task that this node has no engine for) or
            ``invalid_parameters``.
    """
    params: Params = request.read_params()
    if not isinstance(params, LlmParams):
        raise job_error(ErrorCode.UNKNOWN_MODEL, f"This node serves no model for the task {request.task}.")
    asked = [name for name in ("json_schema", "tools", "tool_choice") if getattr(params, name) is not None]
    if any(message.role == "tool" or message.tool_calls for message in params.messages):
        asked.append("tool messages")
    if asked:
        raise job_error(
            ErrorCode.INVALID_PARAMETERS, f"This node's engine cannot serve {', '.join(asked)}; leave it out."
        )
    return params


def check_weights(request: JobRequest, info: EngineInfo) -> None:
    """Check that the loaded weights are the ones that the request needs.

    Raises:
        JobError: ``fingerprint_mismatch`` or ``resume_refused``.
    """
    if request.fingerprint is not None and request.fingerprint != info.fingerprint:
        raise job_error(ErrorCode.FINGERPRINT_MISMATCH, f"This node serves other weights of {info.model}.")
    if request.resume is not None and request.fingerprint is None:
        raise job_error(
            ErrorCode.RESUME_REFUSED, "A resumed job must name the fingerprint of the weights it began with."
        )


def prepare_request(params: LlmParams) -> PrepareRequest:
    """Return the conversation for the engine's template."""
    return PrepareRequest(
        messages=tuple(ChatMessage(role=message.role, content=message.content) for message in params.messages),
        now=params.now,
    )


def check_prompt(request: JobRequest, params: LlmParams, prompt: PreparedPrompt, context_tokens: int) -> bytes:
    """Check a rendered prompt against context and resume; return its salted digest.

    Raises:
        JobError: ``context_overflow`` (prompts are never cut) or ``resume_refused``.
    """
    digest = salted_digest(request.salt, "prompt", prompt.rendered)
    if request.resume is not None and digest != request.resume.prompt_digest:
        raise job_error(ErrorCode.RESUME_REFUSED, "This node renders another prompt than the one before; start anew.")
    input_tokens = len(prompt.token_ids) + resumed_tokens(request)
    if input_tokens + params.max_tokens > context_tokens:
        raise job_error(
            ErrorCode.CONTEXT_OVERFLOW,
            f"The prompt has {input_tokens} tokens and max_tokens is {params.max_tokens}; together at most "
            f"{context_tokens} fit. Shorten the prompt or lower max_tokens.",
        )
    return digest


def resumed_tokens(request: JobRequest) -> int:
    """Return how many ids of earlier segments the request brings."""
    return len(request.resume.ids) if request.resume else 0


def generate_request(
    request: JobRequest, params: LlmParams, prompt: PreparedPrompt, *, job_key: str, deadline_s: float
) -> GenerateRequest:
    """Return the engine's order; ``deadline_s``: seconds of wall clock, > 0."""
    return GenerateRequest(
        job_key=job_key,
        prompt_ids=prompt.token_ids,
        max_tokens=params.max_tokens,
        temperature=params.temperature_millionths / MILLION,
        top_p=params.top_p_millionths / MILLION,
        top_k=params.top_k,
        min_p=params.min_p_millionths / MILLION,
        repetition_penalty=params.repetition_penalty_millionths / MILLION,
        presence_penalty=params.presence_penalty_millionths / MILLION,
        frequency_penalty=params.frequency_penalty_millionths / MILLION,
        seed=params.seed,
        stop=params.stop,
        logprobs=params.logprobs,
        resume_ids=request.resume.ids if request.resume else (),
        text_offset=request.resume.text_offset if request.resume else 0,
        cache_owner=request.client,
        deadline_s=deadline_s,
    )


def wire_logprobs(event: Tokens) -> tuple[TokenLogprob, ...] | None:
    """Return the log-probabilities that the backend reported; each names its token, so gaps do no harm."""
    if event.logprobs is None:
        return None
    return tuple(
        TokenLogprob(id=entry.token_id, logprob=entry.logprob, top=entry.top)
        for entry in event.logprobs
        if entry.logprob is not None
    )


def job_error_of_engine(error: EngineError) -> JobError:
    """Return the wire error for an engine's failure."""
    return job_error(error.code, str(error), retry_after_s=RETRY_AFTER_S if error.code is ErrorCode.BUSY else None)
