"""How an image model fits into the memory that is free. Pure: measured in the child, decided here."""

from dataclasses import dataclass
from typing import Literal

DECODE_BYTES_PER_PIXEL = 4_300
"""Peak of decoding latents to pixels in float32: measured as resident memory with the decoder that SD 1.5, XL, 3 and
FLUX share in size (128 to 512 channels), 512 x 512 pixels, diffusers 0.42 on a CPU: 4,210."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """weights_bytes: of all components; largest_bytes: of the largest one. decode_bytes: for the largest picture.

    tiled_bytes: the same in tiles.
    """

    weights_bytes: int
    largest_bytes: int
    decode_bytes: int
    tiled_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """offload: ``model`` keeps one component at a time on the GPU, ``sequential`` one layer; the rest is in RAM.

    vae_tiling: decode in overlapping tiles. attention_slicing: one attention head after the other.
    """

    offload: Literal["none", "model", "sequential"] = "none"
    vae_tiling: bool = False
    attention_slicing: bool = False


def decode_need(max_pixels: int, *, tile_side: int, bytes_per_value: int) -> tuple[int, int]:
    """Return what decoding the largest picture takes whole and in tiles, bytes. tile_side: pixels."""
    per_pixel = DECODE_BYTES_PER_PIXEL * bytes_per_value // 4
    return max_pixels * per_pixel, min(max_pixels, tile_side * tile_side) * per_pixel


def plan_memory(need: MemoryNeed, *, free_bytes: int, on_gpu: bool) -> MemoryPlan:
    """Return the fastest plan that fits; where none does, the smallest.

    Args:
        need: of the model.
        free_bytes: of the GPU, or RAM without one, before the weights are there.
        on_gpu: only then is there another place for weights.
    """
    if need.weights_bytes + need.decode_bytes <= free_bytes:
        return MemoryPlan()
    if need.weights_bytes + need.tiled_bytes <= free_bytes:
        return MemoryPlan(vae_tiling=True)
    if not on_gpu:
        return MemoryPlan(vae_tiling=True, attention_slicing=True)
    if need.largest_bytes + need.tiled_bytes <= free_bytes:
        return MemoryPlan(offload="model", vae_tiling=True)
    return MemoryPlan(offload="sequential", vae_tiling=True, attention_slicing=True)
