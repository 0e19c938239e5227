"""What a picture is drawn with where the caller does not say: the client signs sizes and steps, so it must know them.

For models of gpunode's catalogue these are the catalogue's ``defaults``; for others those of Stable Diffusion 1.5.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from gpunode._model_names import resolve_name


class ImageDefaults(NamedTuple):
    """width, height: pixels. guidance: how closely the prompt is followed."""

    width: int
    height: int
    steps: int
    guidance: float


DEFAULT_OF_OTHERS: Final = ImageDefaults(512, 512, 30, 7.5)

DEFAULTS: Final[Mapping[str, ImageDefaults]] = {
    "digits-diffusion": ImageDefaults(32, 32, 20, 3.0),
    "stable-diffusion-1.5": DEFAULT_OF_OTHERS,
    "sd-turbo": ImageDefaults(512, 512, 1, 0.0),
    "stable-diffusion-xl": ImageDefaults(1024, 1024, 30, 5.0),
    "sdxl-turbo": ImageDefaults(512, 512, 1, 0.0),
    "stable-diffusion-3.5-medium": ImageDefaults(1024, 1024, 40, 4.5),
    "flux.1-schnell": ImageDefaults(1024, 1024, 4, 0.0),
    "flux.1-dev": ImageDefaults(1024, 1024, 28, 3.5),
}


def image_defaults(model: str | None) -> ImageDefaults:
    """Return what suits a model; ``model``: as the caller names it, None = not known."""
    known = resolve_name(model, DEFAULTS) if model else None
    return DEFAULTS[known] if known else DEFAULT_OF_OTHERS
