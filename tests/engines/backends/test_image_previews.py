"""Previews stay small whatever they show; those of real models are tested with the engine."""

import io

import torch
from gpunode_engines.backends.image_previews import MAX_PREVIEW_BYTES, to_picture, to_small_jpeg
from PIL import Image


def test_noise_is_squeezed_until_it_fits() -> None:
    """Noise is what a picture begins with, and what JPEG cannot squeeze well."""
    noise = to_picture(torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)))
    data = to_small_jpeg(noise)
    assert 1000 < len(data) <= MAX_PREVIEW_BYTES
    with Image.open(io.BytesIO(data)) as read:
        assert read.format == "JPEG"


def test_a_plain_picture_keeps_its_size() -> None:
    """Nothing is scaled down without need."""
    with Image.open(io.BytesIO(to_small_jpeg(Image.new("RGB", (256, 192), "blue")))) as read:
        assert read.size == (256, 192)


def test_values_beyond_the_range_are_cut() -> None:
    """Decoders overshoot a little."""
    pixels = torch.tensor([-0.5, 0.5, 1.5]).view(1, 3, 1, 1)
    assert to_picture(pixels).getpixel((0, 0)) == (0, 128, 255)
