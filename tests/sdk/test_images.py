"""Wishes to parameters, blobs to pictures."""

import io
import math
from pathlib import Path
from typing import Any

import pytest
from gpunode._image_defaults import image_defaults
from gpunode._images import Drawing, ImageOptions, drawing_of
from gpunode.errors import InvalidRequest
from gpunode_protocol.outputs import blob_digest

SALT = b"s" * 32
PNG = b"\x89PNG\r\n\x1a\n picture"
JPEG = b"\xff\xd8\xff picture"


def _drawing(**options: Any) -> Drawing:
    given: ImageOptions = options  # type: ignore[assignment]  # -- tests give wrong ones too
    return drawing_of("a seven", given, image_defaults("digits-diffusion"), salt=SALT)


def test_what_is_left_open_is_the_model_s_default() -> None:
    """But for the seed, which is drawn, so that the caller can have the picture again."""
    params = _drawing().params
    assert (params.mode, params.width, params.height, params.steps, params.guidance_millionths) == (
        ("text", 32, 32, 20, 3_000_000)
    )  # fmt: skip
    assert params.seed == (drawing := _drawing(seed=params.seed)).seed
    assert drawing.params == params
    assert len({_drawing().seed for _ in range(5)}) > 1


@pytest.mark.parametrize("size", ["1024x768", "1024 X 768", (1024, 768), "1024×768"])  # noqa: RUF001 -- people write it
def test_sizes_in_words_and_numbers(size: Any) -> None:
    """Width first."""
    params = _drawing(size=size).params
    assert (params.width, params.height) == (1024, 768)


def test_pictures_to_begin_with(tmp_path: Path) -> None:
    """From a path, bytes or an open file; digests under the job's salt."""
    (tmp_path / "a.png").write_bytes(PNG)
    changed = _drawing(image=tmp_path / "a.png")
    assert (changed.params.mode, changed.params.strength_millionths) == ("image", 750_000)
    painted = _drawing(image=io.BytesIO(JPEG), mask=PNG, strength=0.5)
    assert (painted.params.mode, painted.params.strength_millionths) == ("inpaint", 500_000)
    image, mask = painted.inputs
    assert painted.params.image is not None
    assert painted.params.mask is not None
    assert (painted.params.image.id, painted.params.image.media_type) == (image.id, "image/jpeg")
    assert painted.params.mask.digest == blob_digest(SALT, mask.data)
    assert _drawing(image=PNG, mask=PNG).params.strength_millionths == 1_000_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "nothing was sent: steps: must be at least 1"),
        ({"steps": 10_000}, "steps: must be at most 1,000"),
        ({"steps": math.nan}, "steps"),
        ({"guidance": math.nan}, "guidance must be a number"),
        ({"guidance": 101}, "between 0 and 100"),
        ({"strength": 0.0, "image": PNG}, "strength must be more than 0"),
        ({"strength": 0.5}, "strength needs an image"),
        ({"size": "big"}, "size is 'big'; write it as 1024x768"),
        ({"size": (1024,)}, "write it as 1024x768"),
        ({"size": "100x100"}, "multiple of 8"),
        ({"size": "0x64"}, "width"),
        ({"n": 17}, "n: "),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"format": "gif"}, "format"),
        ({"mask": PNG}, "a mask needs an image"),
        ({"image": b"To be or not to be"}, "image is no PNG, JPEG or WebP file"),
        ({"image": "no/such/file.png"}, r"no/such/file\.png cannot be read"),
        ({"negative_prompt": "x" * 20_001}, "negative_prompt"),
    ],
)
def test_what_cannot_be_sent(options: dict[str, Any], said: str) -> None:
    """Nothing is sent, and the message says why."""
    with pytest.raises(InvalidRequest, match=said):
        _drawing(**options)


def test_a_misspelt_option_is_a_mistake_in_the_program() -> None:
    """As for any function."""
    with pytest.raises(TypeError, match="unexpected arguments: step"):
        _drawing(step=3)
