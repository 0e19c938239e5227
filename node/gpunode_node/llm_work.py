"""Text jobs: a conversation in, tokens out, both billed; may go on where another node stopped."""

from dataclasses import replace

from gpunode_engines.abilities import Ability
from gpunode_engines.base import (
    ChatMessage,
    Engine,
    EngineInfo,
    GenerateRequest,
    PreparedPrompt,
    PrepareRequest,
    Tokens,
)
from gpunode_engines.tools import forces_a_call
from gpunode_protocol import payloads as wire
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import TokenLogprob
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import MILLION, LlmParams, Usage
from gpunode_protocol.requests import JobRequest

from gpunode_node.work import JobOrder, Prepared


class LlmWork:
    """Implements ``Work``.

    Args:
        request: the job's. params: its parameters.
        info: of the loaded model, whose context bounds prompt and answer.

    Raises:
        JobError: ``invalid_parameters``: something that no engine of this node can do. ``resume_refused``.
    """

    def __init__(self, request: JobRequest, params: LlmParams, info: EngineInfo) -> None:
        _check_abilities(params, info, is_resumed=request.resume is not None)
        self.params = params
        self._request = request
        self._context_tokens = info.context_tokens
        self._needs_conversation = info.needs_conversation
        self._prompt = PreparedPrompt(token_ids=(), rendered=b"")

    async def prepare(self, engine: Engine) -> Prepared:
        """See ``Work``."""
        self._prompt = prompt = await engine.prepare(prepare_request(self.params))
        digest = check_prompt(self._request, self.params, prompt, self._context_tokens)
        tokens = len(prompt.token_ids)
        return Prepared(input_tokens=tokens, input_units=tokens + resumed_tokens(self._request), digest=digest)

    def order(self, order: JobOrder) -> GenerateRequest:
        """See ``Work``."""
        request = generate_request(
            self._request, self.params, self._prompt, job_key=order.job_key, deadline_s=order.deadline_s
        )
        return replace(request, conversation=prepare_request(self.params)) if self._needs_conversation else request

    def time_limit_s(self, text_limit_s: float) -> float:
        """See ``Work``."""
        return text_limit_s

    def usage(self, prepared: Prepared, output: OutputLog) -> Usage:
        """See ``Work``."""
        return Usage(
            input_tokens=prepared.input_tokens,
            output_tokens=output.tokens,
            resumed_tokens=resumed_tokens(self._request),
        )


def _check_abilities(params: LlmParams, info: EngineInfo, *, is_resumed: bool) -> None:
    asked: dict[Ability, bool] = {
        "logprobs": params.logprobs is not None,
        "json_schema": params.json_schema is not None,
        "tools": params.tools is not None or any(_is_of_tools(message) for message in params.messages),
        "tool_choice": forces_a_call(params.tool_choice),
    }
    lacking = [ability for ability, is_asked in asked.items() if is_asked and ability not in info.abilities]
    if lacking:
        text = f"This node's engine ({info.backend}) cannot serve {', '.join(lacking)}; leave it out or try another."
        raise JobError(code=ErrorCode.INVALID_PARAMETERS, message=text, retryable=True)
    if is_resumed and any(asked.values()):
        text = "Answers with tools, a schema or logprobs cannot be resumed; start the job anew."
        raise job_error(ErrorCode.RESUME_REFUSED, text)
    if params.tool_choice is not None and params.tools is None:
        raise job_error(ErrorCode.INVALID_PARAMETERS, "tool_choice needs tools; leave it out.")


def _is_of_tools(message: wire.ChatMessage) -> bool:
    return message.role == "tool" or message.tool_calls is not None


def prepare_request(params: LlmParams) -> PrepareRequest:
    """Return the conversation for the engine's template."""
    return PrepareRequest(
        messages=tuple(
            ChatMessage(
                role=message.role,
                content=message.content,
                name=message.name or "",
                tool_calls=message.tool_calls or "",
                tool_call_id=message.tool_call_id or "",
            )
            for message in params.messages
        ),
        now=params.now,
        tools=params.tools,
        tool_choice=params.tool_choice,
        json_schema=params.json_schema,
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
        json_schema=params.json_schema,
        tools=params.tools,
        tool_choice=params.tool_choice,
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
