"""What engines of images, speech and embeddings are asked. Input files come as they are: the child decodes them."""

from dataclasses import dataclass
from typing import Final, Literal

SPEECH_BASE_S: Final = 120.0
"""A speech job may take this long and the length of its audio, from its start on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """Pictures to be drawn.

    job_key: unique among the jobs in flight. mode: ``text`` has no input, ``image`` has ``image``, ``inpaint`` has
    both; ``mask``: white is painted anew. width, height: pixels of the result. guidance: >= 0. strength: (0, 1], how
    much of ``image`` is replaced. seed: None = random; picture k of n uses seed + k. n: pictures. preview_every_steps:
    0 = no previews. deadline_s: wall clock of the job, seconds, > 0; None = the engine's limit.
    """

    type: Literal["image"] = "image"
    job_key: str
    prompt: str
    width: int
    height: int
    steps: int
    mode: Literal["text", "image", "inpaint"] = "text"
    negative_prompt: str = ""
    guidance: float = 7.5
    strength: float = 1.0
    seed: int | None = None
    n: int = 1
    format: Literal["png", "jpeg", "webp"] = "png"
    preview_every_steps: int = 0
    image: bytes = b""
    mask: bytes = b""
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRequest:
    """Speech to be written down, or translated into English.

    audio: a file of any container that the backend decodes. start_ms: where to begin. max_audio_ms: decode no more
    than this from there on. language: ISO 639-1, None = detect. vad: leave silence out. temperature: [0, 1].
    """

    type: Literal["speech"] = "speech"
    job_key: str
    audio: bytes
    max_audio_ms: int
    mode: Literal["transcribe", "translate"] = "transcribe"
    start_ms: int = 0
    language: str | None = None
    word_timestamps: bool = False
    vad: bool = True
    initial_prompt: str = ""
    temperature: float = 0.0
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """Texts to be embedded. The result is one blob: little-endian float32, shape (inputs, dimensions)."""

    type: Literal["embedding"] = "embedding"
    job_key: str
    inputs: tuple[str, ...]
    normalize: bool = True
    deadline_s: float | None = None


MediaRequest = ImageRequest | SpeechRequest | EmbeddingRequest
