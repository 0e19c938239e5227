"""The parent's view of an engine: what it is asked, what it answers, and the contract that every engine keeps."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from gpunode_protocol.tasks import Task

from gpunode_engines.abilities import Ability
from gpunode_engines.confinement import NOTHING, Confinement
from gpunode_engines.errors import EngineLost
from gpunode_engines.media import MediaRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What a started engine serves.

    fingerprint: 32 bytes, equal exactly where a job may be resumed (see ``fingerprint``). context_tokens: prompt and
    output of one job together, 0 where it has no meaning. slots: jobs at once, >= 1. memory_bytes: estimate of what
    weights and caches take. weights_digest: SHA-256, 32 bytes. device: ``cpu`` or the GPU's name. image_side: of the
    pictures that an image model was trained for, pixels; 0 = draws none. confinement: what holds its process back.
    abilities: of a text model, beyond plain text. needs_conversation: requests must carry theirs. saving: see
    ``BackendOptions``.
    """

    task: Task
    model: str
    backend: str
    backend_version: str
    fingerprint: bytes
    weights_digest: bytes
    quantisation: str
    context_tokens: int
    slots: int
    memory_bytes: int
    device: str
    image_side: int = 0
    confinement: Confinement = NOTHING
    abilities: tuple[Ability, ...] = ()
    needs_conversation: bool = False
    saving: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a conversation. tool_calls: JSON text in OpenAI's shape. Texts are empty where there is none."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str = ""
    tool_calls: str = ""
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """A conversation to be rendered, and checks of what its answer shall be.

    now: Unix seconds, for templates that print a date; 0 = no date. tools, tool_choice, json_schema: see
    ``GenerateRequest``.
    """

    type: Literal["chat"] = "chat"
    messages: tuple[ChatMessage, ...]
    now: int = 0
    tools: str | None = None
    tool_choice: str | None = None
    json_schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPrompt:
    """A conversation after the chat template (``rendered``, UTF-8) and the tokenizer (``token_ids``).

    Of embeddings: the inputs' ids, one after the other, and nothing rendered. Of images and speech: both empty.
    """

    token_ids: tuple[int, ...]
    rendered: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """A text to be generated.

    job_key: unique among the jobs in flight. max_tokens: new tokens at most, >= 1; tokens of ``resume_ids`` do not
    count. temperature: 0 = greedy. top_k: 0 = off. top_p: (0, 1], 1 = off. min_p: [0, 1], 0 = off.
    repetition_penalty: > 0, 1 = off. seed: None = random. stop: the answer ends before the first of these texts.
    logprobs: alternatives per token, 0 = the token's own, None = no logprobs. resume_ids: tokens that the client has
    already; generation goes on after them. text_offset: UTF-8 bytes of answer text that the client has already.
    cache_owner: jobs share cached prompts only within one owner; empty = share with nobody.
    deadline_s: wall clock of the job, seconds, > 0; None = the engine's limit, which it cannot exceed.
    ignore_eos: go on after the end-of-answer token (measurements only).
    json_schema: JSON text; the answer follows it, or the job fails. tools, tool_choice: JSON text in OpenAI's shape;
    calls follow the answer's text (see ``tool_calls.CALLS_MARK``), and the finish reason is ``tool_calls``.
    conversation: what the prompt was made of, for engines that need it.
    """

    type: Literal["text"] = "text"
    job_key: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    resume_ids: tuple[int, ...] = ()
    text_offset: int = 0
    cache_owner: str = ""
    deadline_s: float | None = None
    ignore_eos: bool = False
    json_schema: str | None = None
    tools: str | None = None
    tool_choice: str | None = None
    conversation: PrepareRequest | None = None


WorkRequest = GenerateRequest | MediaRequest
"""What one job asks of an engine."""

PreparableRequest = PrepareRequest | MediaRequest
"""What is checked against the loaded model before a job is accepted; inputs that are files may still be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """Natural logarithms of probabilities. logprob: None when the backend did not report this token's."""

    token_id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """New output tokens and the text that they completed.

    Text lags behind ids while a character or a possible stop text is incomplete, so ``text`` may be empty. Whole
    characters only. After a resume the first event may have text without ids.
    """

    type: Literal["tokens"] = "tokens"
    ids: tuple[int, ...]
    text: str
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Work done before or between results. 0 <= step <= total, total >= 1.

    Counted in prompt tokens (llm), in steps of all pictures (image_gen), or in milliseconds of audio (whisper).
    The first one of speech has step 0: the file is decoded, and its length known.
    preview: a small JPEG of the picture so far, <= 16 KiB, empty = none.
    """

    type: Literal["progress"] = "progress"
    step: int
    total: int
    preview: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word with its times, in milliseconds from the start of the audio."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A transcribed stretch of audio, in milliseconds from its start. Without text: nothing was said in it.

    language: ISO 639-1, empty = unknown. words: only where they were asked for.
    """

    type: Literal["segment"] = "segment"
    start_ms: int
    end_ms: int
    text: str
    language: str = ""
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A piece of binary output (an image, embeddings). index: which output; offset: bytes from its start.

    The pieces of one output come in order; the last one completes ``total_bytes``.
    """

    type: Literal["blob"] = "blob"
    index: int
    offset: int
    total_bytes: int
    data: bytes
    media_type: str


FinishReason = Literal["stop", "length", "cancelled", "tool_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event of a job. output_tokens: the ids delivered by this job, without ``resume_ids``.

    reason: ``stop`` the model ended its answer or a stop text came; ``length`` max_tokens reached (fewer ids may have
    been delivered when the last ones were an incomplete character); ``cancelled``; ``tool_calls`` the model calls
    functions.
    """

    type: Literal["finished"] = "finished"
    reason: FinishReason
    prompt_tokens: int
    output_tokens: int


Event = Tokens | Progress | Segment | Blob | Finished


NO_LIMIT_PER_S = 1e9
"""The rate of a kind of work that costs no time of its own: input of images and speech, output of embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSpeed:
    """Speed of one stream on an otherwise idle engine; ttft_s: seconds to the first output meanwhile.

    Per second: tokens of text; units of ``IMAGE_UNIT_PIXEL_STEPS`` of images, milliseconds of audio (decode only);
    tokens of embeddings (prefill only). A rate that a task does not have is ``NO_LIMIT_PER_S``.
    """

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    ttft_s: float
    prompt_tokens: int
    output_tokens: int


class Engine(Protocol):
    """One loaded model. All methods belong to one event loop.

    Whoever constructs an engine calls ``start`` once and ``stop`` at the end, which may be called at any time.
    """

    @property
    def info(self) -> EngineInfo:
        """What is served. Raises EngineNotReady before ``start`` has returned."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether a job could start now or once a slot is free."""
        ...

    @property
    def restarts(self) -> int:
        """How often the engine was lost and started again."""
        ...

    @property
    def last_loss(self) -> EngineLost | None:
        """Why the engine was lost the last time, None = never. A job that had ended otherwise may be to blame."""
        ...

    @property
    def denials(self) -> int:
        """How often the sandbox refused it something, as far as that is heard of."""
        ...

    @property
    def active_jobs(self) -> int:
        """Jobs that hold a slot, those being cancelled included."""
        ...

    async def start(self) -> EngineInfo:
        """Load the model. Raises EngineStartFailed with the cause; nothing is left running then."""
        ...

    async def stop(self) -> None:
        """End everything; jobs in flight fail with EngineStopped. Idempotent."""
        ...

    async def wait_healthy(self) -> None:
        """Return when jobs can start: at once, or after the restart that is under way."""
        ...

    async def prepare(self, request: PreparableRequest) -> PreparedPrompt:
        """Apply the chat template and tokenise, or check what the loaded model can do. Takes no slot.

        Raises:
            InvalidParameters: no messages, the template refuses them, or the model cannot do what is asked.
            EngineNotReady, EngineLost: see there.
        """
        ...

    def generate(self, request: WorkRequest) -> AsyncGenerator[Event, None]:
        """Run a job; events end with exactly one ``Finished``, or an ``EngineError`` is raised.

        Closing the generator (use ``contextlib.aclosing``) or cancelling the task that iterates it cancels the job
        within one token or step, and the slot is free when that returns.

        Raises:
            EngineOverloaded: every slot is taken. InvalidParameters, ContextOverflow, ResumeRefused: the request.
            EngineNotReady, EngineLost, JobFailed: see there.
        """
        ...

    async def cancel(self, job_key: str) -> None:
        """Ask a job to end; its iterator then yields ``Finished(reason="cancelled")``. Unknown keys are ignored."""
        ...

    async def measure_speed(self) -> MeasuredSpeed:
        """Measure with one job of a fixed size; other jobs meanwhile falsify the figures."""
        ...
