"""A small picture of what an unfinished one looks like."""

import io
from typing import Any, Final

import torch
from PIL import Image

MAX_PREVIEW_BYTES: Final = 16 * 1024
_LONGEST_SIDE: Final = 256
"""Pixels, if the model's own pictures are not smaller: decoding this costs little beside a step."""
_QUALITIES: Final = (75, 50, 25)
_SMALLEST_SIDE: Final = 8


@torch.inference_mode()
def preview_of(pipe: Any, latents: torch.Tensor, width: int, height: int) -> bytes:
    """Return a JPEG of the picture that the latents stand for, at most MAX_PREVIEW_BYTES.

    Args:
        pipe: the diffusers pipeline, whose decoder is used.
        latents: as its callback gets them, shape (1, channels, height, width), or FLUX's packed (1, patches, values).
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    if latents.ndim == 3:
        latents = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)  # noqa: SLF001 -- no public way
    shrink = _LONGEST_SIDE / max(width, height)
    if shrink < 1:
        latents = torch.nn.functional.interpolate(latents.float(), scale_factor=shrink, mode="area")
    return to_small_jpeg(to_picture(_decoded(pipe.vae, latents)))


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """Return an image of values from 0 to 1, shape (1, 3, height, width)."""
    array = pixels[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(array)


def to_small_jpeg(picture: Image.Image) -> bytes:
    """Return a JPEG of at most MAX_PREVIEW_BYTES: of less quality, then smaller, until it fits."""
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            if file.tell() <= MAX_PREVIEW_BYTES or max(picture.size) <= _SMALLEST_SIDE:
                return file.getvalue()
        width, height = picture.size
        picture = picture.resize((max(1, width // 2), max(1, height // 2)))


def _decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return pixels from 0 to 1. A decoder that overflows in float16 (its setting says so) runs in float32."""
    upcast = vae.dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        vae.to(torch.float32)
    try:
        scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
        pixels: torch.Tensor = vae.decode(scaled.to(vae.device, vae.dtype), return_dict=False)[0]
    finally:
        if upcast:
            vae.to(torch.float16)
    return torch.nan_to_num(pixels.float() / 2 + 0.5)
