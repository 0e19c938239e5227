"""Text generation with llama.cpp (package ``xllamacpp``): GGUF weights, continuous batching, CPU and GPU."""

import importlib.metadata
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunode_engines.abilities import ALL_ABILITIES
from gpunode_engines.backends import Emit
from gpunode_engines.backends.llamacpp_server import LlamaCppServer
from gpunode_engines.backends.slots import SlotTable
from gpunode_engines.base import (
    Finished,
    FinishReason,
    GenerateRequest,
    PreparedPrompt,
    PrepareRequest,
    Progress,
    TokenLogprob,
    Tokens,
)
from gpunode_engines.errors import BackendFailed, ContextOverflow, InvalidParameters, OutOfMemory
from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.out_of_memory import speaks_of_memory
from gpunode_engines.structured_answer import constraint_of, structured
from gpunode_engines.text_assembly import TextAssembler
from gpunode_engines.tool_prompt import conversation_of, knows_tools
from gpunode_engines.vocabulary import VOCABULARY_KEYS, Vocabulary

_SAMPLERS = ["penalties", "top_k", "top_p", "min_p", "temperature"]
_RANDOM_SEED = 2**32 - 1
"""llama.cpp takes this value for "any seed" (LLAMA_DEFAULT_SEED)."""


class LlamaCppBackend:
    """Implements ``Backend``."""

    def load(self, order: Load) -> Loaded:
        """Load the first file; llama.cpp finds the further parts of a split model beside it."""
        self._vocabulary = Vocabulary.from_gguf(read_gguf_header(Path(order.files[0]), VOCABULARY_KEYS))
        self._server = LlamaCppServer(order)
        self._slots = SlotTable(order.options.slots)
        self._template_knows_tools = knows_tools(self._server.chat_template())
        return Loaded(
            backend_version=importlib.metadata.version("xllamacpp"),
            context_tokens=min(order.options.context_tokens, self._server.context_tokens()),
            slots=order.options.slots,
            device=self._server.device,
            abilities=ALL_ABILITIES,
        )

    def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """Render and tokenise."""
        if not request.messages:
            raise InvalidParameters("There are no messages; send at least one.")
        conversation = conversation_of(request, template_knows_tools=self._template_knows_tools)
        rendered = self._server.render(conversation.messages, conversation.tools, request.now)
        return PreparedPrompt(token_ids=self._server.tokenise(rendered), rendered=rendered.encode())

    def generate(self, request: GenerateRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Run a job in a slot of its own."""
        self._vocabulary.check((*request.prompt_ids, *request.resume_ids))
        answer = _Answer(request, self._vocabulary, structured(request, emit))
        if answer.replay():
            return
        with self._slots.lease(request.cache_owner) as lease:

            def on_chunk(chunk: dict[str, Any]) -> bool:
                return cancelled.is_set() or answer.take(chunk)

            self._server.complete(_body(request) | {"id_slot": lease.slot, "cache_prompt": lease.reuse_cache}, on_chunk)
        answer.end(cancelled=cancelled.is_set())


def _body(request: GenerateRequest) -> dict[str, Any]:
    """Return llama.cpp's request. Stop texts are not passed on: it loses text that it held back for them."""
    seed = _RANDOM_SEED if request.seed is None else request.seed % _RANDOM_SEED
    constraint = constraint_of(request)
    return ({} if constraint is None else {"json_schema": constraint}) | {
        "prompt": [*request.prompt_ids, *request.resume_ids],
        "n_predict": request.max_tokens,
        "stream": True,
        "n_probs": max(1, request.logprobs or 0),  # token ids come with the probabilities only
        "post_sampling_probs": _is_sampled_from_few(request),
        "timings_per_token": True,  # carries the number of tokens so far
        "return_progress": True,
        "samplers": _SAMPLERS,
        "temperature": request.temperature,
        "top_k": 1 if request.temperature == 0 else request.top_k,
        "top_p": request.top_p,
        "min_p": request.min_p,
        "repeat_penalty": request.repetition_penalty,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "seed": seed,
        "ignore_eos": request.ignore_eos,
    }


def _is_sampled_from_few(request: GenerateRequest) -> bool:
    """Whether probabilities may be those after sampling, which are never passed on, as the cheaper ones.

    Those before sampling take a pass over the vocabulary, 3 to 5 % of SmolLM2-135M's time; those after it a sort of
    what sampling left, which is the whole vocabulary where nothing cuts it down (20 %).
    """
    is_cut = request.temperature == 0 or request.top_k > 0 or request.top_p < 1 or request.min_p > 0
    return is_cut and request.logprobs is None


@dataclass(frozen=True, slots=True)
class _Step:
    """What one chunk says of new tokens.

    last_id: of the last of ``count``. data: the bytes of all of them. logprob, top: of the last, where the job asked.
    """

    count: int
    last_id: int
    data: bytes
    logprob: float | None
    top: tuple[tuple[int, float], ...]


class _Answer:
    """Turns llama.cpp's chunks into events of one job."""

    def __init__(self, request: GenerateRequest, vocabulary: Vocabulary, emit: Emit) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._emit = emit
        self._text = TextAssembler(request.stop)
        self._ids = 0
        self._reason: FinishReason | None = None
        self._failure: Exception | None = None

    def replay(self) -> bool:
        """Go through the tokens that the client has; True if they end the answer already."""
        if not self._request.resume_ids:
            return False
        pieces = (self._vocabulary.piece(token_id) for token_id in self._request.resume_ids)
        text = self._text.replay(pieces, self._request.text_offset)
        if text:
            self._emit(Tokens(ids=(), text=text))
        if self._text.stopped:
            self._finish("stop")
        return self._text.stopped

    def take(self, chunk: dict[str, Any]) -> bool:
        """Handle one chunk; True ends the job. Exceptions must not reach llama.cpp and are kept for ``end``."""
        try:
            return self._take(chunk)
        except Exception as error:  # noqa: BLE001 -- the caller is native code; ``end`` raises it
            self._failure = error
            return True

    def end(self, *, cancelled: bool) -> None:
        """Emit what is left and Finished. Raises EngineError when the job failed."""
        if self._failure is not None:
            raise self._failure
        if self._reason is None and not cancelled:
            raise BackendFailed("llama.cpp ended the job without a result; try again.")
        if not self._text.stopped and self._reason is not None and (text := self._text.finish()):
            self._emit(Tokens(ids=(), text=text))
        self._finish(self._reason or "cancelled")

    def _finish(self, reason: FinishReason) -> None:
        self._emit(Finished(reason=reason, prompt_tokens=len(self._request.prompt_ids), output_tokens=self._ids))

    def _take(self, chunk: dict[str, Any]) -> bool:
        if (error := chunk.get("error")) is not None:
            raise _error_of(error)
        if (progress := chunk.get("prompt_progress")) is not None:
            self._emit(Progress(step=progress["processed"], total=progress["total"]))
            return False
        choice = chunk["choices"][0]
        if (step := _step_of(chunk, choice, self._ids)) is not None:
            self._emit_tokens(step)
        if self._text.stopped:
            self._reason = "stop"
        elif choice["finish_reason"] is not None:
            self._reason = "length" if choice["finish_reason"] == "length" else "stop"
        return self._text.stopped

    def _emit_tokens(self, step: _Step) -> None:
        ids = self._ids_of(step)
        self._ids += len(ids)
        logprobs = None
        if self._request.logprobs is not None:
            last = TokenLogprob(token_id=step.last_id, logprob=step.logprob, top=step.top[: self._request.logprobs])
            logprobs = (*(TokenLogprob(token_id=token_id, logprob=None) for token_id in ids[:-1]), last)
        self._emit(Tokens(ids=ids, text=self._text.push(step.data), logprobs=logprobs))

    def _ids_of(self, step: _Step) -> tuple[int, ...]:
        """Return the ids of a chunk. llama.cpp names the last only, where a character took several tokens."""
        if step.count == 1:
            return (step.last_id,)
        last_piece = self._vocabulary.piece(step.last_id)
        missing = None
        if step.data.endswith(last_piece):
            missing = self._vocabulary.split(step.data[: len(step.data) - len(last_piece)], step.count - 1)
        if missing is None:
            raise BackendFailed("llama.cpp withheld token ids that cannot be told from the text; try again.")
        return (*missing, step.last_id)


def _step_of(chunk: dict[str, Any], choice: dict[str, Any], tokens_before: int) -> _Step | None:
    """Return what a chunk says of new tokens, None if nothing."""
    content = (choice.get("logprobs") or {}).get("content")
    if not content:
        return None
    entry = content[0]
    return _Step(
        count=chunk["timings"]["predicted_n"] - tokens_before,
        last_id=entry["id"],
        data=bytes(entry["bytes"]),
        logprob=entry.get("logprob"),
        top=tuple((other["id"], other["logprob"]) for other in entry.get("top_logprobs", ())),
    )


def _error_of(error: dict[str, Any]) -> Exception:
    message = str(error.get("message", "unknown"))
    match error.get("type"):
        case "exceed_context_size_error":
            return ContextOverflow(f"llama.cpp refused the prompt: {message}.")
        case "invalid_request_error":
            return InvalidParameters(f"llama.cpp refused the request: {message}.")
        case _ if speaks_of_memory(message):
            return OutOfMemory(f"llama.cpp reported: {message}. Ask for less.")
        case _:
            return BackendFailed(f"llama.cpp reported: {message}. Try again.")
