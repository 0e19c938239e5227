"""Text generation by a server of the owner's that speaks OpenAI's interface: vLLM, Ollama, llama.cpp's server.

Jobs count tokens by their ids. A server that gives them (llama.cpp: with the log-probabilities; vLLM: on request) is
taken at its word. Of others, each piece of text that comes counts as one token with the id ``UNKNOWN_ID``: a piece is
at least one token, so clients never pay too much. Answers are never resumed elsewhere.
"""

import json
import threading
from typing import Any

from gpunode_engines.abilities import Ability
from gpunode_engines.backends import Emit
from gpunode_engines.backends.ollama_context import count_prompt, raise_if_cut
from gpunode_engines.backends.openai_client import CHAT_PATH, OpenAiClient
from gpunode_engines.backends.openai_kinds import ServerKind, detect_kind
from gpunode_engines.base import (
    Finished,
    FinishReason,
    GenerateRequest,
    PreparedPrompt,
    PrepareRequest,
    TokenLogprob,
    Tokens,
)
from gpunode_engines.errors import BackendFailed, EngineError, EngineStartFailed, InvalidParameters, ResumeRefused
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.structured_answer import constraint_of, structured
from gpunode_engines.text_assembly import TextAssembler
from gpunode_engines.tool_calls import ToolCall, encode_calls
from gpunode_engines.tool_prompt import conversation_of

UNKNOWN_ID = 0

_ABILITIES: tuple[Ability, ...] = ("json_schema", "tools", "tool_choice")
_FAILURES = ("abort", "error")
"""What servers of this interface say of an answer that they could not finish."""


class OpenAiBackend:
    """Implements ``Backend``."""

    def load(self, order: Load) -> Loaded:
        """Find out what the server is and whether it has the model."""
        server = order.options.server
        if server is None:
            raise EngineStartFailed(f"{order.model} names no server; give it a source of the kind server.")
        self._client = OpenAiClient(server)
        try:
            self._kind = detect_kind(self._client, server.model)
        except EngineError as error:
            raise EngineStartFailed(f"The server of {order.model} at {server.host}:{server.port}: {error}") from error
        return Loaded(
            backend_version=self._kind.name,
            context_tokens=min(order.options.context_tokens, self._kind.context_tokens or order.options.context_tokens),
            slots=order.options.slots,
            device="server",
            quantisation="server",
            abilities=("logprobs", *_ABILITIES) if self._kind.logprobs_have_ids else _ABILITIES,
            needs_conversation=True,
        )

    def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """Have the server count the prompt. Ids are its own where it names them, else that many ``UNKNOWN_ID``."""
        if not request.messages:
            raise InvalidParameters("There are no messages; send at least one.")
        body = self._conversation(request)
        ids = self._kind.prompt_ids(self._client, body)
        if ids is None:
            if self._kind.cuts_prompts:
                raise_if_cut(self._client, body, self._kind.context_tokens)
            ids = (UNKNOWN_ID,) * count_prompt(self._client, body)
        return PreparedPrompt(token_ids=ids, rendered=json.dumps(body, sort_keys=True).encode())

    def generate(self, request: GenerateRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Run a job."""
        if request.resume_ids:
            raise ResumeRefused
        if request.conversation is None:
            raise InvalidParameters("A model server takes conversations only.")
        body = self._conversation(request.conversation) | self._kind.sampling(request) | self._structure(request)
        if request.tools is None or not self._kind.finds_calls:
            emit = structured(request, emit)
        answer = _Answer(request, emit, self._kind)
        for chunk in self._client.stream(CHAT_PATH, body, cancelled):
            if answer.take(chunk):
                break
        answer.end(cancelled=cancelled.is_set())

    def _conversation(self, request: PrepareRequest) -> dict[str, Any]:
        conversation = conversation_of(request, template_knows_tools=self._kind.finds_calls)
        body: dict[str, Any] = {"model": self._kind.model, "messages": _wire_messages(conversation.messages)}
        return body | ({"tools": list(conversation.tools)} if conversation.tools else {})

    def _structure(self, request: GenerateRequest) -> dict[str, Any]:
        if request.tools is not None and self._kind.finds_calls:
            return {} if request.tool_choice is None else {"tool_choice": json.loads(request.tool_choice)}
        constraint = constraint_of(request)
        if constraint is None:
            return {}
        schema = {"name": "answer", "strict": True, "schema": constraint}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _wire_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the arguments of calls as text, and ids, as the interface wants them."""
    wire = []
    for message in messages:
        calls = [
            {
                "id": f"call_{index}",
                "type": "function",
                "function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"])},
            }
            for index, call in enumerate(message.get("tool_calls", ()))
        ]
        wire.append(message | ({"tool_calls": calls} if calls else {}))
    return wire


class _Answer:
    """Turns a server's chunks into events of one job."""

    def __init__(self, request: GenerateRequest, emit: Emit, kind: ServerKind) -> None:
        self._request = request
        self._emit = emit
        self._kind = kind
        self._text = TextAssembler(request.stop)
        self._ids = 0
        self._calls = _Calls()
        self._reason: FinishReason | None = None

    def take(self, chunk: dict[str, Any]) -> bool:
        """Handle one chunk; True ends the job."""
        if chunk.get("error"):
            raise BackendFailed("The model server reported an error; the job can be sent again.")
        for choice in chunk.get("choices") or ():
            self._take_choice(choice)
        if self._text.stopped:
            self._reason = "stop"
        return self._text.stopped or self._ids >= self._request.max_tokens

    def end(self, *, cancelled: bool) -> None:
        """Emit what is left and Finished."""
        if self._reason is None and self._ids >= self._request.max_tokens:
            self._reason = "length"
        if self._reason is None and not cancelled:
            raise BackendFailed("The model server ended the job without a result; it can be sent again.")
        if not self._text.stopped and self._reason is not None and (text := self._text.finish()):
            self._emit(Tokens(ids=(), text=text))
        if (calls := self._calls.found()) and self._reason == "stop":
            self._emit(Tokens(ids=(), text=encode_calls(calls, self._request.job_key)))
            self._reason = "tool_calls"
        reason = self._reason or "cancelled"
        self._emit(Finished(reason=reason, prompt_tokens=len(self._request.prompt_ids), output_tokens=self._ids))

    def _take_choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or {}
        text = str(delta.get("content") or "")
        pieces = delta.get("tool_calls") or ()
        for position, piece in enumerate(pieces):
            self._calls.take(position, piece)
        ids, logprobs = self._kind.output_ids(choice)
        # what a model thinks is no part of its answer, but it is written, and paid for, token by token
        thought = delta.get("reasoning") or delta.get("reasoning_content")
        if not ids and (text or pieces or thought) and not self._kind.gives_ids:
            ids = (UNKNOWN_ID,)
        ids = ids[: self._request.max_tokens - self._ids]
        self._ids += len(ids)
        shown = self._text.push(text.encode())
        if ids or shown:
            self._emit(Tokens(ids=ids, text=shown, logprobs=self._asked(logprobs[: len(ids)])))
        if (reason := choice.get("finish_reason")) is not None:
            if reason in _FAILURES:
                raise BackendFailed("The model server gave the job up; it can be sent again.")
            self._reason = "length" if reason == "length" else "stop"

    def _asked(self, logprobs: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...] | None:
        return None if self._request.logprobs is None else logprobs


class _Calls:
    """Puts calls of functions together from their pieces."""

    def __init__(self) -> None:
        self._calls: list[list[str]] = []  # name and arguments of each
        self._open: dict[int, list[str]] = {}  # of these, the newest of each number

    def take(self, position: int, piece: dict[str, Any]) -> None:
        """Take a piece of a call. position: in its chunk, its number where it has none."""
        number, function = piece.get("index"), piece.get("function") or {}
        key = position if number is None else int(number)
        name, arguments = str(function.get("name") or ""), str(function.get("arguments") or "")
        call = self._open.get(key)
        # whatever has arguments has its whole name: another one is another call's, as of Ollama, where all are number 0
        # (https://github.com/ollama/ollama/issues/15457)
        if call is None or (name and call[1]):
            call = self._open[key] = ["", ""]
            self._calls.append(call)
        call[0] += name
        call[1] += arguments

    def found(self) -> list[ToolCall]:
        """Return the calls in the order in which they began."""
        return [ToolCall(name, arguments or "{}") for name, arguments in self._calls]
