"""Chat: the caller's arguments to signed parameters, and a job's events to chunks and a result."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from gpunode_protocol.client_job import Completed
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.messages import AcceptedFrame, TokensFrame
from gpunode_protocol.payloads import ChatMessage, LlmParams

from gpunode._job_result import job_facts
from gpunode._job_run import JobRun
from gpunode._millionths import millionths
from gpunode._read_ahead import read_ahead
from gpunode._refusals import not_valid
from gpunode._request_size import check_size
from gpunode._structured import (
    CallFilter,
    as_json,
    check_schema,
    parse_answer,
    schema_of,
    split_calls,
    tools_text,
    wire_message,
)
from gpunode.types import ChatResult, Chunk, Message, Route, TokenLogprob, ToolCall, Usage

DEFAULT_MAX_TOKENS: Final = 512


class ChatOptions(TypedDict, total=False):
    """How the answer is made; what is left out is the model's or the network's default.

    max_tokens: of the answer, 512 unless given. temperature: 0 to 2, 0 = always the likeliest token. top_p: 0 to 1.
    top_k: 0 = off. min_p: 0 to 1. repetition_penalty: 0 to 10. presence_penalty, frequency_penalty: -2 to 2.
    seed: 0 to 2^32 - 1, the same seed at the same node gives the same answer. stop: texts that end the answer.
    logprobs: alternatives per token in the result, 0 to 20; 0 = the tokens' own only. json_schema: the answer is JSON
    that follows it, see ``ChatResult.parsed``; response_format: the same in OpenAI's shape. tools: functions that the
    model may call, in OpenAI's shape; tool_choice: ``"auto"``, ``"none"``, ``"required"``, or one function.
    """

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    logprobs: int | None
    json_schema: Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None


_MILLIONTHS: Final = (
    "temperature",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)


def llm_params(messages: Sequence[Message], options: ChatOptions, *, now: float) -> LlmParams:
    """Return the parameters that are signed; ``now``: Unix seconds, for templates that print a date.

    Raises:
        InvalidRequest: naming the argument and its limits.
    """
    unknown = sorted(set(options) - set(ChatOptions.__annotations__))
    if unknown:
        raise TypeError(f"chat() got unexpected arguments: {', '.join(unknown)}")
    given = {name: value for name, value in options.items() if value is not None}
    value: dict[str, Any] = {"max_tokens": DEFAULT_MAX_TOKENS, "now": int(now), **given}
    for name in _MILLIONTHS:
        if name in value:
            value[f"{name}_millionths"] = millionths(LlmParams, name, value.pop(name))
    stop = value.pop("stop", ())
    value["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    value["messages"] = tuple(wire_message(message) for message in messages)
    _add_structure(value)
    try:
        params = LlmParams.from_map(value)
    except MalformedMessage as error:
        raise not_valid(error) from error
    check_size(params, "The messages")
    return params


def _add_structure(value: dict[str, Any]) -> None:
    """Turn schema and tools into the JSON texts that are signed. Raises InvalidRequest."""
    schema = schema_of(value.pop("json_schema", None), value.pop("response_format", None))
    if schema is not None:
        check_schema(schema)
        value["json_schema"] = as_json(schema, "json_schema")
    if "tools" in value:
        value["tools"] = tools_text(value["tools"])
    if "tool_choice" in value:
        value["tool_choice"] = as_json(value["tool_choice"], "tool_choice")


@dataclass
class ChatState:
    """What is known of a chat so far; filled by ``chat_chunks``."""

    run: JobRun | None = None
    result: ChatResult | None = None

    @property
    def route(self) -> Route | None:
        """The node that is being asked or has answered."""
        return self.run.route if self.run else None


async def chat_chunks(
    start: Callable[[], Awaitable[JobRun]], state: ChatState, *, is_shown: bool, monotonic: Callable[[], float]
) -> AsyncGenerator[Chunk, None]:
    """Yield the answer's pieces; afterwards ``state.result`` is there. Closing it early cancels the job.

    is_shown: see ``Answer``; if not, only the result counts, and the pieces may be of several answers.

    A function beside the stream object, not a method of it: nothing then keeps a forgotten stream alive.
    """
    started_at = monotonic()
    state.run = run = await start()
    run.answer.is_shown = is_shown
    calls, logprobs = CallFilter(), list[TokenLogprob]()
    async with aclosing(read_ahead(run.events())) as events:
        async for event in events:
            if isinstance(event, TokensFrame) and (event.ids or event.text):
                logprobs.extend(TokenLogprob(*entry) for entry in _entries(event))
                yield Chunk(calls.push(event.text) if _params(run).tools else event.text, event.ids)
            elif isinstance(event, AcceptedFrame) and not is_shown:
                logprobs.clear()  # answers with entries are begun anew
            elif isinstance(event, Completed):
                state.result = await _result(run, event, logprobs, started_at=started_at, now=monotonic())


def _params(run: JobRun) -> LlmParams:
    assert isinstance(run.job.params, LlmParams)  # noqa: S101 -- a chat's job
    return run.job.params


def _entries(event: TokensFrame) -> Iterator[tuple[int, float, tuple[tuple[int, float], ...]]]:
    return ((entry.id, entry.logprob, entry.top) for entry in event.logprobs or ())


async def _result(
    run: JobRun, done: Completed, logprobs: Sequence[TokenLogprob], *, started_at: float, now: float
) -> ChatResult:
    """Return the result. Raises AnswerUnusable: not the JSON, or not the calls, that were asked for."""
    params, text = _params(run), run.answer.text
    calls: tuple[ToolCall, ...] = ()
    if params.tools is not None and done.finish_reason == "tool_calls":
        text, calls = split_calls(text)
    parsed = None
    if params.json_schema is not None and done.finish_reason == "stop":
        parsed = await asyncio.to_thread(parse_answer, text, params.json_schema)  # others' answers go on meanwhile
    return ChatResult(
        response=text,
        ids=tuple(run.answer.ids),
        usage=Usage(prompt_tokens=done.usage.input_tokens, completion_tokens=len(run.answer.ids)),
        tool_calls=calls,
        parsed=parsed,
        logprobs=None if params.logprobs is None else tuple(logprobs),
        **job_facts(run, done, started_at=started_at, now=now),
    )


__all__ = ["ChatMessage", "ChatOptions", "ChatState", "chat_chunks", "llm_params"]
