"""Range checks of image, speech and embedding requests, the same for every engine, before any work is done."""

import math
from collections.abc import Sequence

from gpunode_protocol.payloads import MAX_AUDIO_MS

from gpunode_engines.checks import MAX_SEED
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.media import EmbeddingRequest, ImageRequest, MediaRequest, SpeechRequest

MAX_IMAGE_SIDE_PIXELS = 8192
MAX_STEPS = 1000
MAX_GUIDANCE = 100.0
MAX_IMAGES = 16
MAX_START_MS = 360_000_000
"""A hundred hours: where in a file a job may begin."""
MAX_EMBEDDING_INPUTS = 2048

_Range = tuple[str, float, float, float]


def check_media(request: MediaRequest) -> None:
    """Refuse what no engine could serve; what this model cannot do, its backend refuses.

    Raises:
        InvalidParameters: naming the parameter and its limits.
    """
    match request:
        case ImageRequest():
            _check_ranges(_image_ranges(request))
        case SpeechRequest():
            _check_ranges(_speech_ranges(request))
        case EmbeddingRequest(inputs=inputs):
            if not 1 <= len(inputs) <= MAX_EMBEDDING_INPUTS:
                raise InvalidParameters(f"{len(inputs)} inputs; send between 1 and {MAX_EMBEDDING_INPUTS}.")
    if request.deadline_s is not None and not request.deadline_s > 0:
        raise InvalidParameters(f"The deadline of {request.deadline_s} s is over already.")


def _image_ranges(request: ImageRequest) -> Sequence[_Range]:
    return (
        ("width", request.width, 8, MAX_IMAGE_SIDE_PIXELS),
        ("height", request.height, 8, MAX_IMAGE_SIDE_PIXELS),
        ("steps", request.steps, 1, MAX_STEPS),
        ("guidance", request.guidance, 0.0, MAX_GUIDANCE),
        ("strength", request.strength, 0.0, 1.0),
        ("seed", request.seed or 0, 0, MAX_SEED),
        ("n", request.n, 1, MAX_IMAGES),
        ("preview_every_steps", request.preview_every_steps, 0, MAX_STEPS),
    )


def _speech_ranges(request: SpeechRequest) -> Sequence[_Range]:
    return (
        ("start_ms", request.start_ms, 0, MAX_START_MS),
        ("max_audio_ms", request.max_audio_ms, 1, MAX_AUDIO_MS),
        ("temperature", request.temperature, 0.0, 1.0),
    )


def _check_ranges(ranges: Sequence[_Range]) -> None:
    for name, value, low, high in ranges:
        if not math.isfinite(value) or not low <= value <= high:
            raise InvalidParameters(f"{name} is {value}; it must lie between {low:g} and {high:g}.")
