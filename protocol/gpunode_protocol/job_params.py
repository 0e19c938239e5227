"""Parameters of a queued job as REST takes them, and what is signed for a node to do it.

JSON has fractions and no bytes: fractions are plain numbers here and millionths on the wire, files are base64 here and
blobs there. An unknown parameter is refused: its sender would wonder why it has no effect.
"""

import base64
import binascii
import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen, MultipleOf
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gpunode_protocol.blobs import Blob
from gpunode_protocol.errors import ErrorCode, JobError, MalformedMessage, job_error
from gpunode_protocol.framing import MAX_FRAME_BYTES
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import (
    MAX_AUDIO_MS,
    MILLION,
    BlobRef,
    EmbeddingParams,
    ImageParams,
    LlmParams,
    Params,
    Seed,
    SpeechParams,
    Text,
)
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.schema_check import schema_problem
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import first_problem

DEFAULT_MAX_TOKENS: Final = 512
DEFAULT_MAX_MINUTES: Final = 60.0
DEFAULT_STRENGTH: Final = {"image": 0.75, "inpaint": 1.0}
DEFAULT_SIDE_PIXELS: Final = 512
"""Width and height where nothing is said, as of Stable Diffusion 1.5; likewise the two below."""
DEFAULT_STEPS: Final = 30
DEFAULT_GUIDANCE: Final = 7.5
REQUEST_OVERHEAD_BYTES: Final = 16_384
"""Room in a request's frame for everything but the parameters: the grant alone may have 8 KiB."""

_MS_PER_MINUTE: Final = 60_000
_MAX_MINUTES: Final = MAX_AUDIO_MS // _MS_PER_MINUTE
_IMAGE_ID, _MASK_ID, _AUDIO_ID = 0, 1, 0
_UNKNOWN_TYPE: Final = "application/octet-stream"
_SIZE: Final = re.compile(r"([0-9]{1,5})[xX]([0-9]{1,5})")
_IMAGE_TYPES: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


def _from_base64(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be text: the file in base64")  # noqa: TRY004 -- what pydantic reports
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("is not valid base64") from error


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _pixels(value: Any) -> Any:
    """Read a size such as ``1024x768`` as width and height."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be written like 1024x768")
    return int(match[1]), int(match[2])


# JSON's arrays are lists when they come here: what is strict is the type of their items
_AS_TUPLE: Final = Field(strict=False)
_FINITE: Final = Field(allow_inf_nan=False)
_Base64Text = Annotated[
    str,
    MinLen(4),
    Field(pattern="^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", json_schema_extra={"format": "byte"}),
]
FileBytes = Annotated[bytes, BeforeValidator(_from_base64, json_schema_input_type=_Base64Text), MinLen(1)]
_SizeText = Annotated[str, Field(pattern="^[0-9]{1,5}[xX][0-9]{1,5}$")]
_Stop = Annotated[str, MinLen(1), MaxLen(256)]
Fraction = Annotated[float, Ge(0), Le(1), _FINITE]
Penalty = Annotated[float, Ge(-2), Le(2), _FINITE]
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class JobOrder:
    """What is signed, and the files that go with it."""

    params: Params
    inputs: tuple[Blob, ...] = field(default=(), repr=False)


class JobParams(WireModel):
    """Base of the parameters of each task."""

    model_config = ConfigDict(extra="forbid")

    def to_order(self, salt: bytes, now: int) -> JobOrder:
        """Return what a node is asked for.

        Args:
            salt: the job's, 32 bytes, under which the files' digests are made.
            now: Unix seconds, for templates that print a date.

        Raises:
            JobError: ``invalid_parameters``: a value that only the wire's limits forbid, or more than fits a request.
        """
        try:
            order = self._order(salt, now)
        except MalformedMessage as error:
            raise _invalid(str(error).partition(": ")[2]) from error
        size = len(pack(order.params.to_map()))
        if size > MAX_FRAME_BYTES - REQUEST_OVERHEAD_BYTES:
            raise _invalid(f"without their files they have {size:,} bytes, and about 1 MiB can be sent")
        return order

    def check(self) -> None:
        """Check what takes too long for each ``to_order``: once, when the job is handed in.

        Raises:
            JobError: ``invalid_parameters``.
        """

    @abstractmethod
    def _order(self, salt: bytes, now: int) -> JobOrder:
        """Return what a node is asked for. Raises MalformedMessage."""


class JobMessage(WireModel):
    """One message of a conversation, in OpenAI's shape."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant", "tool"]
    content: Text | None = None
    name: Annotated[str, MaxLen(64)] | None = None
    tool_calls: Annotated[tuple[JsonObject, ...], MaxLen(128), _AS_TUPLE] | None = None
    tool_call_id: Annotated[str, MaxLen(128)] | None = None

    def to_wire(self) -> JsonObject:
        """Return the message as it is signed: calls as JSON text, no content as empty text."""
        given = self.model_dump(exclude_none=True, exclude={"tool_calls"})
        return given | ({"tool_calls": _as_json(list(self.tool_calls), "tool_calls")} if self.tool_calls else {})


class LlmJobParams(JobParams):
    """A chat completion. The penalties, top_p and min_p are plain numbers; json_schema and tools are JSON."""

    messages: Annotated[tuple[JobMessage, ...], MinLen(1), MaxLen(4096), _AS_TUPLE]
    max_tokens: Annotated[int, Ge(1), Le(1_000_000)] = DEFAULT_MAX_TOKENS
    temperature: Annotated[float, Ge(0), Le(2), _FINITE] = 1.0
    top_p: Annotated[float, Gt(0), Le(1), _FINITE] = 1.0
    top_k: Annotated[int, Ge(0), Le(1_000_000)] = 0
    min_p: Fraction = 0.0
    repetition_penalty: Annotated[float, Gt(0), Le(10), _FINITE] = 1.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    seed: Seed | None = None
    stop: Annotated[
        tuple[_Stop, ...],
        MaxLen(16),
        BeforeValidator(_listed, json_schema_input_type=_Stop | Annotated[tuple[_Stop, ...], MaxLen(16)]),
        _AS_TUPLE,
    ] = ()
    json_schema: JsonObject | None = None
    tools: Annotated[tuple[JsonObject, ...], MinLen(1), MaxLen(1024), _AS_TUPLE] | None = None
    tool_choice: Annotated[str, MaxLen(64)] | JsonObject | None = None

    def check(self) -> None:
        """Check the schema. Raises JobError."""
        problem = None if self.json_schema is None else schema_problem(self.json_schema)
        if problem is not None:
            raise _invalid(f"json_schema: {problem}")

    def _order(self, salt: bytes, now: int) -> JobOrder:  # noqa: ARG002 -- a chat has no files
        value: JsonObject = {
            "messages": tuple(message.to_wire() for message in self.messages),
            "max_tokens": self.max_tokens,
            "temperature_millionths": _millionths(self.temperature),
            "top_p_millionths": _millionths(self.top_p, least=1),
            "top_k": self.top_k,
            "min_p_millionths": _millionths(self.min_p),
            "repetition_penalty_millionths": _millionths(self.repetition_penalty, least=1),
            "presence_penalty_millionths": _millionths(self.presence_penalty),
            "frequency_penalty_millionths": _millionths(self.frequency_penalty),
            "seed": self.seed,
            "stop": self.stop,
            "now": now,
        }
        if self.json_schema is not None:
            value["json_schema"] = _as_json(self.json_schema, "json_schema")
        if self.tools is not None:
            value["tools"] = _as_json(list(self.tools), "tools")
        if self.tool_choice is not None:
            value["tool_choice"] = _as_json(self.tool_choice, "tool_choice")
        return JobOrder(LlmParams.from_map(value))


class ImageJobParams(JobParams):
    """Text to image, image to image (``image``) or inpainting (``image`` and ``mask``, both base64).

    size: ``"1024x768"``, or width and height in pixels. What is left out of size, steps and guidance is that of Stable
    Diffusion 1.5; see ``with_defaults``.
    """

    prompt: Annotated[str, MaxLen(20_000)]
    negative_prompt: Annotated[str, MaxLen(20_000)] = ""
    size: Annotated[tuple[int, int], BeforeValidator(_pixels, json_schema_input_type=_SizeText)] | None = None
    width: Annotated[int, Ge(8), Le(8192), MultipleOf(8)] | None = None
    height: Annotated[int, Ge(8), Le(8192), MultipleOf(8)] | None = None
    steps: Annotated[int, Ge(1), Le(1000)] | None = None
    guidance: Annotated[float, Ge(0), Le(100), _FINITE] | None = None
    strength: Annotated[float, Gt(0), Le(1), _FINITE] | None = None
    seed: Seed | None = None
    n: Annotated[int, Ge(1), Le(16)] = 1
    format: Literal["png", "jpeg", "webp"] = "png"
    image: FileBytes | None = None
    mask: FileBytes | None = None

    @model_validator(mode="after")
    def _agree(self) -> "ImageJobParams":
        if self.size is not None and (self.width is not None or self.height is not None):
            raise ValueError("give size, or width and height, not both")
        if (self.width is None) != (self.height is None):
            raise ValueError("give width and height, or neither")
        if self.mask is not None and self.image is None:
            raise ValueError("a mask needs an image")
        if self.strength is not None and self.image is None:
            raise ValueError("strength needs an image")
        return self

    @property
    def mode(self) -> str:
        """``text``, ``image`` or ``inpaint``."""
        if self.image is None:
            return "text"
        return "image" if self.mask is None else "inpaint"

    def with_defaults(self, *, width: int, height: int, steps: int, guidance: float) -> "ImageJobParams":
        """Return the parameters with a model's defaults for what is left out. width, height: pixels."""
        changes: JsonObject = {}
        if self.size is None and self.width is None:
            changes |= {"width": width, "height": height}
        if self.steps is None:
            changes["steps"] = steps
        if self.guidance is None:
            changes["guidance"] = guidance
        return self.model_copy(update=changes)

    def _order(self, salt: bytes, now: int) -> JobOrder:  # noqa: ARG002 -- pictures know no date
        width, height = self.size or (self.width or DEFAULT_SIDE_PIXELS, self.height or DEFAULT_SIDE_PIXELS)
        value: JsonObject = {
            "mode": self.mode,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "width": width,
            "height": height,
            "steps": DEFAULT_STEPS if self.steps is None else self.steps,
            "guidance_millionths": _millionths(DEFAULT_GUIDANCE if self.guidance is None else self.guidance),
            "seed": self.seed,
            "n": self.n,
            "format": self.format,
        }
        if self.mode != "text":
            strength = DEFAULT_STRENGTH[self.mode] if self.strength is None else self.strength
            value["strength_millionths"] = _millionths(strength, least=1)
        files = {"image": (_IMAGE_ID, self.image), "mask": (_MASK_ID, self.mask)}
        blobs = {name: _picture(name, number, data) for name, (number, data) in files.items() if data is not None}
        value |= {name: _ref(blob, salt).to_map() for name, blob in blobs.items()}
        return JobOrder(ImageParams.from_map(value), tuple(blobs.values()))


class SpeechJobParams(JobParams):
    """Transcription or translation of ``audio``, a file in base64. max_minutes: of audio, what is paid for at most."""

    audio: FileBytes
    media_type: Annotated[str, MinLen(3), MaxLen(100), Field(pattern=r"^[a-zA-Z0-9.+/;= -]+$")] = _UNKNOWN_TYPE
    mode: Literal["transcribe", "translate"] = "transcribe"
    language: Annotated[str, MinLen(2), MaxLen(8)] | None = None
    word_timestamps: bool = False
    vad: bool = True
    initial_prompt: Annotated[str, MaxLen(4_000)] = ""
    temperature: Fraction = 0.0
    max_minutes: Annotated[float, Gt(0), Le(_MAX_MINUTES), _FINITE] = DEFAULT_MAX_MINUTES

    def _order(self, salt: bytes, now: int) -> JobOrder:  # noqa: ARG002 -- speech knows no date
        audio = Blob(id=_AUDIO_ID, media_type=self.media_type, data=self.audio)
        value = {
            "mode": self.mode,
            "audio": _ref(audio, salt).to_map(),
            "max_audio_ms": max(1, round(self.max_minutes * _MS_PER_MINUTE)),
            "language": self.language,
            "word_timestamps": self.word_timestamps,
            "vad": self.vad,
            "initial_prompt": self.initial_prompt,
            "temperature_millionths": _millionths(self.temperature),
        }
        return JobOrder(SpeechParams.from_map(value), (audio,))


class EmbeddingJobParams(JobParams):
    """Sentence embeddings of one text or several."""

    input: Annotated[
        tuple[Text, ...],
        MinLen(1),
        MaxLen(2048),
        BeforeValidator(_listed, json_schema_input_type=Text | Annotated[tuple[Text, ...], MinLen(1), MaxLen(2048)]),
        _AS_TUPLE,
    ]
    normalize: bool = True

    def _order(self, salt: bytes, now: int) -> JobOrder:  # noqa: ARG002 -- no files, no date
        return JobOrder(EmbeddingParams.from_map({"inputs": self.input, "normalize": self.normalize}))


JOB_PARAMS_OF: Final[Mapping[Task, type[JobParams]]] = {
    Task.LLM: LlmJobParams,
    Task.IMAGE_GEN: ImageJobParams,
    Task.WHISPER: SpeechJobParams,
    Task.EMBEDDING: EmbeddingJobParams,
}


def read_job_params(task: Task, value: Any) -> JobParams:
    """Read the parameters of a queued job, a JSON object; what is null counts as left out.

    Raises:
        JobError: ``invalid_parameters``, naming the parameter and its limits, or one that the task does not have.
    """
    if not isinstance(value, Mapping):
        raise _invalid("they must be an object")
    model = JOB_PARAMS_OF[task]
    try:
        return model.model_validate({name: given for name, given in value.items() if given is not None})
    except ValidationError as error:
        unknown = [
            ".".join(str(part) for part in problem["loc"])
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
            if problem["type"] == "extra_forbidden"
        ]
        if unknown:
            known = ", ".join(model.model_fields)
            raise _invalid(f"{task} has no parameter {unknown[0][:80]!r}; it has {known}") from error
        raise _invalid(first_problem(error)) from error


def _invalid(problem: str) -> JobError:
    return job_error(ErrorCode.INVALID_PARAMETERS, f"Correct the parameters: {problem}.")


def _millionths(value: float, *, least: int | None = None) -> int:
    """Return a number in millionths. least: of a value that must not become 0."""
    parts = round(value * MILLION)
    return parts if least is None else max(least, parts)


def _as_json(value: Any, name: str) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(f"{name}: cannot be written as JSON") from error


def _picture(name: str, blob_id: int, data: bytes) -> Blob:
    media_type = next((kind for start, kind in _IMAGE_TYPES if data.startswith(start)), None)
    if media_type is None:
        raise _invalid(f"{name}: is no PNG, JPEG or WebP file")
    return Blob(id=blob_id, media_type=media_type, data=data)


def _ref(blob: Blob, salt: bytes) -> BlobRef:
    return BlobRef(
        id=blob.id, size_bytes=len(blob.data), digest=blob_digest(salt, blob.data), media_type=blob.media_type
    )
