"""Parameters of each task as the client signs them, and the usage that comes back.

No floats in signed maps: fractions travel in millionths, instants in Unix seconds, durations in milliseconds.
"""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, MinLen, MultipleOf
from pydantic import model_validator

from gpunode_protocol.errors import ErrorCode, MalformedMessage, job_error
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Count, Digest, UnixSeconds

MILLION = 1_000_000
IMAGE_UNIT_PIXEL_STEPS = 1024
"""An image unit is this many pixel-steps: one pixel through one denoising step."""

Millionths = Annotated[int, Ge(0), Le(MILLION)]
SignedTwoMillionths = Annotated[int, Ge(-2 * MILLION), Le(2 * MILLION)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Text = Annotated[str, MaxLen(1_000_000)]


class ChatMessage(WireModel):
    """One message of a conversation; ``tool_calls`` is JSON text in OpenAI's shape."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text = ""
    name: Annotated[str, MaxLen(64)] | None = None
    tool_calls: Annotated[str, MaxLen(100_000)] | None = None
    tool_call_id: Annotated[str, MaxLen(128)] | None = None


class LlmParams(WireModel):
    """A chat completion.

    max_tokens: output tokens at most, this segment. temperature, top_p, min_p, penalties: millionths.
    top_k: 0 = off. seed: None = the node's choice. logprobs: alternatives per token, 0 = none, None = no logprobs.
    json_schema, tools, tool_choice: JSON text. now: Unix seconds for templates that print a date.
    """

    messages: Annotated[tuple[ChatMessage, ...], MinLen(1), MaxLen(4096)]
    max_tokens: Annotated[int, Ge(1), Le(1_000_000)]
    temperature_millionths: Annotated[int, Ge(0), Le(2 * MILLION)] = MILLION
    top_p_millionths: Annotated[int, Ge(1), Le(MILLION)] = MILLION
    top_k: Annotated[int, Ge(0), Le(1_000_000)] = 0
    min_p_millionths: Millionths = 0
    repetition_penalty_millionths: Annotated[int, Ge(1), Le(10 * MILLION)] = MILLION
    presence_penalty_millionths: SignedTwoMillionths = 0
    frequency_penalty_millionths: SignedTwoMillionths = 0
    seed: Seed | None = None
    stop: Annotated[tuple[Annotated[str, MinLen(1), MaxLen(256)], ...], MaxLen(16)] = ()
    logprobs: Annotated[int, Ge(0), Le(20)] | None = None
    json_schema: Annotated[str, MaxLen(100_000)] | None = None
    tools: Annotated[str, MaxLen(400_000)] | None = None
    tool_choice: Annotated[str, MaxLen(1_000)] | None = None
    now: UnixSeconds = 0


MAX_BLOB_BYTES = 104_857_600


class BlobRef(WireModel):
    """A larger input or output that travels in blob frames. digest: HMAC-SHA-256 of its bytes under the job's salt."""

    id: Annotated[int, Ge(0), Le(255)]
    size_bytes: Annotated[int, Ge(1), Le(MAX_BLOB_BYTES)]
    digest: Digest
    media_type: Annotated[str, MinLen(3), MaxLen(100)]


class ImageParams(WireModel):
    """Text to image, image to image (``image``) or inpainting (``image`` and ``mask``). Sizes in pixels."""

    mode: Literal["text", "image", "inpaint"] = "text"
    prompt: Annotated[str, MaxLen(20_000)]
    negative_prompt: Annotated[str, MaxLen(20_000)] = ""
    width: Annotated[int, Ge(8), Le(8192), MultipleOf(8)]
    height: Annotated[int, Ge(8), Le(8192), MultipleOf(8)]
    steps: Annotated[int, Ge(1), Le(1000)]
    guidance_millionths: Annotated[int, Ge(0), Le(100 * MILLION)]
    strength_millionths: Millionths = MILLION
    seed: Seed | None = None
    n: Annotated[int, Ge(1), Le(16)] = 1
    format: Literal["png", "jpeg", "webp"] = "png"
    preview_every_steps: Annotated[int, Ge(0), Le(1000)] = 0
    image: BlobRef | None = None
    mask: BlobRef | None = None

    @model_validator(mode="after")
    def _inputs_fit_the_mode(self) -> "ImageParams":
        if (self.image is not None) != (self.mode != "text") or (self.mask is not None) != (self.mode == "inpaint"):
            raise ValueError("mode image needs image, mode inpaint needs image and mask, mode text neither")
        if self.image is not None and self.mask is not None and self.image.id == self.mask.id:
            raise ValueError("image and mask need different ids")
        return self

    def units_per_image(self) -> int:
        """Return the image units of one picture, rounded up."""
        return -(-self.width * self.height * self.steps // IMAGE_UNIT_PIXEL_STEPS)


MAX_AUDIO_MS = 240 * 60_000
"""Audio of one job, ms: decoded, four hours are 0.9 GB (float32, 16 kHz). Longer ones are sent in parts."""


class SpeechParams(WireModel):
    """Transcription or translation of ``audio``.

    max_audio_ms: what the client pays for at most, counted from ``start_ms`` on. start_ms: where to begin (a resumed
    job's last finished segment).
    """

    mode: Literal["transcribe", "translate"] = "transcribe"
    audio: BlobRef
    max_audio_ms: Annotated[int, Ge(1), Le(MAX_AUDIO_MS)]
    start_ms: Count = 0
    language: Annotated[str, MinLen(2), MaxLen(8)] | None = None
    word_timestamps: bool = False
    vad: bool = True
    initial_prompt: Annotated[str, MaxLen(4_000)] = ""
    temperature_millionths: Millionths = 0


class EmbeddingParams(WireModel):
    """Sentence embeddings of ``inputs``; the result is a blob of little-endian float32, shape (inputs, dimensions)."""

    inputs: Annotated[tuple[Text, ...], MinLen(1), MaxLen(2048)]
    normalize: bool = True


Params = LlmParams | ImageParams | SpeechParams | EmbeddingParams

PARAMS_OF: dict[Task, type[Params]] = {
    Task.LLM: LlmParams,
    Task.IMAGE_GEN: ImageParams,
    Task.WHISPER: SpeechParams,
    Task.EMBEDDING: EmbeddingParams,
}


class Usage(WireModel):
    """What a segment used. image_units: 1,024 pixel-steps each. Fields of other tasks stay 0."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    resumed_tokens: Count = 0
    images: Count = 0
    image_units: Count = 0
    audio_ms: Count = 0


def read_params(task: Task, value: Any) -> Params:
    """Read the parameters of a task.

    Raises:
        JobError: ``invalid_parameters``, naming the field and its limits.
    """
    try:
        return PARAMS_OF[task].from_map(value)
    except MalformedMessage as error:
        raise job_error(ErrorCode.INVALID_PARAMETERS, f"Correct the parameters: {error}.") from error


def input_refs(params: Params) -> tuple[BlobRef, ...]:
    """Return the inputs that travel in blob frames after ``accepted``."""
    match params:
        case ImageParams():
            return tuple(ref for ref in (params.image, params.mask) if ref is not None)
        case SpeechParams():
            return (params.audio,)
        case LlmParams() | EmbeddingParams():
            return ()


def worst_case_output_units(params: Params) -> int:
    """Return the most output units that these parameters can cost; settlements never go beyond it."""
    match params:
        case LlmParams():
            return params.max_tokens
        case ImageParams():
            return params.units_per_image() * params.n
        case SpeechParams():
            return params.max_audio_ms
        case EmbeddingParams():
            return 0


_TEMPLATE_TOKENS = 512
_TEMPLATE_TOKENS_PER_MESSAGE = 32


def input_tokens_bound(params: Params) -> int:
    """Return how many prompt tokens a node may quote at most.

    A byte-level tokenizer makes at most one token a byte; templates add a constant and a little for each message.
    """
    match params:
        case LlmParams():
            size = sum(
                len(part.encode())
                for message in params.messages
                for part in (message.content, message.name or "", message.tool_calls or "", message.tool_call_id or "")
            )
            extra = len((params.tools or "").encode()) + len((params.json_schema or "").encode())
            return size + 2 * extra + _TEMPLATE_TOKENS + _TEMPLATE_TOKENS_PER_MESSAGE * len(params.messages)
        case EmbeddingParams():
            return sum(len(text.encode()) + _TEMPLATE_TOKENS_PER_MESSAGE for text in params.inputs)
        case ImageParams() | SpeechParams():
            return 0
