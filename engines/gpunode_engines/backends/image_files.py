"""Pictures as files: a client's inputs, which are not trusted, and results with their parameters in the metadata."""

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any, Final, Literal

from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from gpunode_engines.errors import InvalidParameters

MAX_INPUT_PIXELS: Final = 64 * 1024 * 1024
"""Of an input picture, before it is scaled down: 8,192 x 8,192, 192 MiB once decoded."""

MEDIA_TYPES: Final[Mapping[str, str]] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

PARAMETERS_KEY: Final = "parameters"
"""Keyword of the PNG text chunk, the one that other programs use for it."""

_INPUT_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_QUALITY: Final = 95
_TURNS: Final[Mapping[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture upright, by EXIF's orientation (Exif 2.32, tag 0x0112); Pillow turns counter-clockwise."""
_MAX_EXIF_TEXT_BYTES: Final = 48_000
"""A JPEG's EXIF segment holds 64 KiB in all."""

Picture = Image.Image


def read_picture(data: bytes, name: str, size: tuple[int, int], mode: Literal["RGB", "L"] = "RGB") -> Picture:
    """Decode an input picture and bring it to a size: scaled, and cropped around its centre where shapes differ.

    What is transparent becomes white. Only the header is read before the size has been checked.

    Args:
        data: a PNG, JPEG or WebP file.
        name: the parameter's, for the message.
        size: width and height, pixels.
        mode: of the result.

    Raises:
        InvalidParameters: it is no such file, is damaged, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_INPUT_FORMATS) as opened:
                _check_pixels(opened, name)
                opened.load()
                upright = _upright(_in_eight_bits(opened))
    except UnidentifiedImageError as error:
        raise InvalidParameters(f"{name} is no PNG, JPEG or WebP file.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidParameters(_too_large(name)) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise InvalidParameters(f"{name} is damaged: it cannot be decoded to its end.") from error
    return ImageOps.fit(_on_white(upright).convert(mode), size, Image.Resampling.LANCZOS)


def write_picture(picture: Picture, file_format: Literal["png", "jpeg", "webp"], facts: Mapping[str, Any]) -> bytes:
    """Return the file of a picture. facts: how it was made; a PNG text chunk, else EXIF's image description."""
    file = io.BytesIO()
    text = json.dumps(facts, ensure_ascii=True)
    if file_format == "png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(PARAMETERS_KEY, text)
        picture.save(file, "PNG", pnginfo=info)
    else:
        picture.save(file, file_format.upper(), quality=_QUALITY, exif=_exif(text, facts))
    return file.getvalue()


def _exif(text: str, facts: Mapping[str, Any]) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "gpunode"
    if len(text) > _MAX_EXIF_TEXT_BYTES:  # JSON in ASCII, so characters are bytes
        text = json.dumps({name: value for name, value in facts.items() if not isinstance(value, str)})
    exif[ExifTags.Base.ImageDescription] = text
    return exif


def _in_eight_bits(picture: Picture) -> Picture:
    """Return grey of 16 bits in 8. Pillow itself cuts: all that is not nearly black becomes white."""
    if not picture.mode.startswith("I"):
        return picture
    grey = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    grey.info = {name: value for name, value in picture.info.items() if name != "transparency"}  # a shade of 16 bits
    return grey


def _upright(picture: Picture) -> Picture:
    """Turn a picture as its camera was held.

    Nothing but the orientation is read: ``ImageOps.exif_transpose`` writes all tags anew and fails at odd ones.
    """
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Picture) -> object:
    try:
        return picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 -- tags are strangers' bytes, at which Pillow fails in many ways; the pixels are fine
        return None


def _check_pixels(picture: Picture, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_INPUT_PIXELS:
        raise InvalidParameters(_too_large(name))


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_INPUT_PIXELS:,} pixels; scale it down."


def _on_white(picture: Picture) -> Picture:
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    with_alpha = picture.convert("RGBA")
    white = Image.new("RGBA", with_alpha.size, "white")
    return Image.alpha_composite(white, with_alpha)
