"""Images: the caller's wishes to signed parameters, and a node's blobs to pictures."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypedDict

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, JobEvent
from gpunode_protocol.errors import MalformedMessage, VerificationFailed
from gpunode_protocol.messages import ProgressFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import BlobRef, ImageParams

from gpunode._image_defaults import ImageDefaults
from gpunode._input_files import read_input
from gpunode._job_result import JobFacts
from gpunode._millionths import millionths
from gpunode._refusals import not_valid
from gpunode._request_size import check_size
from gpunode.errors import InvalidRequest
from gpunode.types import ImageProgress, ImageResult, ImageUsage, Picture

DEFAULT_STRENGTH: Final = {"image": 0.75, "inpaint": 1.0}
_IMAGE_ID: Final = 0
_MASK_ID: Final = 1
_SEEDS: Final = 2**32
_SIZE: Final = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", re.IGNORECASE)  # noqa: RUF001 -- people write sizes with it
_MEDIA_TYPES: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))

ImageSource = str | Path | bytes | BinaryIO
"""A path, the bytes of a file, or an open binary file."""


class ImageOptions(TypedDict, total=False):
    """How pictures are drawn; what is left out is the model's default, or else that of Stable Diffusion 1.5.

    size: ``"1024x768"`` or width and height in pixels. steps: 1 to 1,000. guidance: 0 to 100, how closely the prompt is
    followed. seed: 0 to 2^32 - 1, random unless given; the same seed gives the same picture, and picture k of n uses
    seed + k. negative_prompt: what shall not be seen. n: pictures, 1 to 16. image: PNG, JPEG or WebP to begin with;
    its shape is cropped to ``size``. mask: of ``image``; what is white is painted anew. strength: more than 0 and at
    most 1, how much of ``image`` is replaced, 0.75 unless given, with a mask 1. format: of the results, ``png``
    unless given. preview_every_steps: how often ``on_progress`` gets a small JPEG, 0 = never.
    """

    size: str | tuple[int, int] | None
    steps: int | None
    guidance: float | None
    seed: int | None
    negative_prompt: str | None
    n: int | None
    image: ImageSource | None
    mask: ImageSource | None
    strength: float | None
    format: Literal["png", "jpeg", "webp"] | None
    preview_every_steps: int | None


@dataclass(frozen=True)
class Drawing:
    """What is signed, and the files that go with it. seed: of the first picture."""

    params: ImageParams
    inputs: tuple[Blob, ...]
    seed: int


def drawing_of(prompt: str, options: ImageOptions, defaults: ImageDefaults, *, salt: bytes) -> Drawing:
    """Read the files and return what is sent.

    Args:
        prompt: what to draw.
        options: the caller's.
        defaults: for what the caller leaves open.
        salt: the job's, under which the files' digests are made.

    Raises:
        InvalidRequest: naming the argument and its limits; nothing was sent.
    """
    unknown = sorted(set(options) - set(ImageOptions.__annotations__))
    if unknown:
        raise TypeError(f"generate_image() got unexpected arguments: {', '.join(unknown)}")
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    inputs = _inputs(given.pop("image", None), given.pop("mask", None))
    mode = ("text", "image", "inpaint")[len(inputs)]
    width, height = _size(given.pop("size", (defaults.width, defaults.height)))
    seed = given.pop("seed", None)
    value = {
        "mode": mode,
        "prompt": prompt,
        "width": width,
        "height": height,
        "steps": given.pop("steps", defaults.steps),
        "guidance_millionths": millionths(ImageParams, "guidance", given.pop("guidance", defaults.guidance)),
        "seed": secrets.randbelow(_SEEDS) if seed is None else seed,
        **_strength(mode, given.pop("strength", None)),
        **{name: _ref(blob, salt).to_map() for name, blob in inputs.items()},
        **given,
    }
    try:
        params = ImageParams.from_map(value)
    except MalformedMessage as error:
        raise not_valid(error) from error
    check_size(params, "The prompts")
    return Drawing(params, tuple(inputs.values()), value["seed"])


def _strength(mode: str, strength: float | None) -> dict[str, int]:
    if mode == "text":
        if strength is not None:
            raise not_valid("strength needs an image")
        return {}
    parts = millionths(ImageParams, "strength", DEFAULT_STRENGTH[mode] if strength is None else strength)
    if not parts:
        raise not_valid("strength must be more than 0 and at most 1")
    return {"strength_millionths": parts}


def _size(value: object) -> tuple[int, int]:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]), int(match[2])
    match value:
        case (int(width), int(height)):
            return width, height
    raise not_valid(f"size is {value!r}; write it as 1024x768")


def _inputs(image: ImageSource | None, mask: ImageSource | None) -> dict[str, Blob]:
    if mask is not None and image is None:
        raise not_valid("a mask needs an image")
    sources = {"image": (_IMAGE_ID, image), "mask": (_MASK_ID, mask)}
    return {name: _read(name, blob_id, source) for name, (blob_id, source) in sources.items() if source is not None}


def _read(name: str, blob_id: int, source: ImageSource) -> Blob:
    data = read_input(source, name)
    media_type = next((kind for start, kind in _MEDIA_TYPES if data.startswith(start)), None)
    if media_type is None:
        raise InvalidRequest(f"The {name} is no PNG, JPEG or WebP file; nothing was sent.")
    return Blob(id=blob_id, media_type=media_type, data=data)


def _ref(blob: Blob, salt: bytes) -> BlobRef:
    return BlobRef(
        id=blob.id, size_bytes=len(blob.data), digest=blob_digest(salt, blob.data), media_type=blob.media_type
    )


class Pictures:
    """Collects the pictures of a job as they come.

    Args:
        drawing: what was asked for.
        on_progress: called at each step.
    """

    def __init__(self, drawing: Drawing, on_progress: Callable[[ImageProgress], None] | None = None) -> None:
        self._drawing = drawing
        self._on_progress = on_progress
        self._pictures: list[Picture] = []

    def take(self, event: JobEvent) -> None:
        """Note an event."""
        if isinstance(event, Blob):
            self._pictures.append(Picture(event.data, event.media_type))
        elif isinstance(event, ProgressFrame) and self._on_progress is not None:
            self._on_progress(ImageProgress(event.step, event.total, event.preview or None))

    def result(self, done: Completed, facts: JobFacts) -> ImageResult:
        """Return all pictures.

        Raises:
            VerificationFailed: fewer than were asked for, in a job that was not cancelled.
        """
        wanted = self._drawing.params.n
        if len(self._pictures) < wanted and done.finish_reason != "cancelled":
            raise VerificationFailed(f"The node drew {len(self._pictures)} of {wanted} pictures; ask another node.")
        return ImageResult(
            images=tuple(self._pictures),
            seed=self._drawing.seed,
            usage=ImageUsage(len(self._pictures), len(self._pictures) * self._drawing.params.units_per_image()),
            **facts,
        )
