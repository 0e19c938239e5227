"""Input pictures from strangers, and results that say how they were made."""

import io
import json
import struct
import zlib
from typing import Any, Literal

import pytest
from gpunode_engines.backends.image_files import read_picture, write_picture
from gpunode_engines.errors import InvalidParameters
from PIL import ExifTags, Image

FACTS: dict[str, Any] = {"prompt": "a seven in Zürich", "seed": 5, "steps": 20}


def _file(picture: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """Return a small PNG that claims to have side x side pixels, and has them."""
    row = bytes(1 + side)
    squeezed = zlib.compressobj(9)
    data = b"".join(squeezed.compress(row) for _ in range(side)) + squeezed.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_pictures_of_three_formats(file_format: str) -> None:
    """Scaled to the size that is drawn."""
    picture = read_picture(_file(Image.new("RGB", (100, 50), "red"), file_format), "image", (32, 16))
    assert (picture.size, picture.mode) == ((32, 16), "RGB")
    red, green, blue = picture.getpixel((16, 8))  # type: ignore[misc]  # -- of an RGB image it is a tuple of three
    assert red > 250
    assert max(green, blue) < 10


def test_another_shape_is_cropped_around_its_centre() -> None:
    """Nothing is stretched."""
    wide = Image.new("RGB", (96, 32), "white")
    wide.paste("black", (32, 0, 64, 32))
    assert read_picture(_file(wide), "image", (32, 32)).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_what_is_transparent_becomes_white() -> None:
    """Colours below full transparency are nobody's intention."""
    assert read_picture(_file(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), "image", (8, 8)).getpixel((0, 0)) == (255,) * 3
    assert read_picture(_file(Image.new("L", (8, 8), 7)), "mask", (8, 8), "L").getpixel((0, 0)) == 7


def test_the_camera_s_orientation_counts() -> None:
    """Phones store pictures lying on their side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turn by 90 degrees clockwise
    upper_dark = Image.new("RGB", (32, 32), "white")
    upper_dark.paste("black", (0, 0, 32, 16))
    turned = read_picture(_file(upper_dark, "PNG", exif=exif), "image", (32, 32))
    assert (turned.getpixel((4, 16)), turned.getpixel((28, 16))) == ((255,) * 3, (0,) * 3)


def test_an_odd_tag_beside_the_orientation_does_no_harm() -> None:
    """Cameras and editors write tags that cannot be written back, such as a text where a fraction belongs."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    exif[ExifTags.Base.XResolution] = 72.0
    data = exif.tobytes()
    resolution = struct.pack(">HHI", ExifTags.Base.XResolution, 5, 1)
    assert resolution in data
    odd = data.replace(resolution, struct.pack(">HHI", ExifTags.Base.XResolution, 2, 1))
    left_dark = Image.new("RGB", (32, 32), "white")
    left_dark.paste("black", (0, 0, 16, 32))
    turned = read_picture(_file(left_dark, "PNG", exif=odd), "image", (32, 32))
    assert (turned.getpixel((4, 16)), turned.getpixel((28, 16))) == ((255,) * 3, (0,) * 3)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_grey_of_16_bits_keeps_its_shades(mode: Literal["RGB", "L"]) -> None:
    """Scanners and depth cameras write it; Pillow makes everything above 255 of 65,535 white, also of a mask."""
    grey = Image.new("I;16", (32, 32), 0x4040)
    grey.paste(0xC8C8, (16, 0, 32, 32))
    read = read_picture(_file(grey, "PNG"), "mask", (32, 32), mode)
    assert [read.convert("L").getpixel((x, 16)) for x in (4, 28)] == [0x40, 0xC8]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"this is a text, not a picture", "image is no PNG, JPEG or WebP file"),
        (b"", "image is no PNG"),
        (b"GIF89a" + bytes(40), "image is no PNG"),
        (_file(Image.new("RGB", (64, 64), "red"))[:80], "image is damaged"),
        (bomb(20_000), "more than 67,108,864 pixels"),
    ],
    ids=["text", "empty", "another format", "cut", "bomb"],
)
def test_what_is_no_picture_is_refused(data: bytes, said: str) -> None:
    """Before it takes memory."""
    with pytest.raises(InvalidParameters, match=said):
        read_picture(data, "image", (32, 32))


def test_a_bomb_is_small_and_costs_nothing() -> None:
    """400 million pixels in less than half a megabyte are told by the header alone."""
    assert len(bomb(20_000)) < 500_000


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_the_parameters_are_in_the_file(file_format: Literal["png", "jpeg", "webp"]) -> None:
    """As JSON: a text chunk in PNG, the image description in EXIF elsewhere."""
    data = write_picture(Image.new("RGB", (32, 32), "red"), file_format, FACTS)
    with Image.open(io.BytesIO(data)) as read:
        assert (read.format, read.size) == (file_format.upper(), (32, 32))
        text = read.info["parameters"] if file_format == "png" else read.getexif()[ExifTags.Base.ImageDescription]
    assert json.loads(text) == FACTS


def test_a_prompt_too_long_for_exif_is_left_out() -> None:
    """A JPEG's EXIF holds 64 KiB; numbers stay."""
    data = write_picture(Image.new("RGB", (8, 8)), "jpeg", FACTS | {"prompt": "ü" * 20_000})
    with Image.open(io.BytesIO(data)) as read:
        assert json.loads(read.getexif()[ExifTags.Base.ImageDescription]) == {"seed": 5, "steps": 20}


def test_equal_parameters_give_equal_files() -> None:
    """No date or other chance enters."""
    picture = Image.new("RGB", (32, 32), "red")
    assert write_picture(picture, "png", FACTS) == write_picture(picture, "png", FACTS)
