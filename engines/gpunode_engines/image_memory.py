"""How an image model fits into the memory that is free. Pure: measured in the child, decided here."""

from dataclasses import dataclass
from typing import Final, Literal

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


_PLANS_ON_GPU: Final = (
    MemoryPlan(),
    MemoryPlan(vae_tiling=True),
    MemoryPlan(offload="model", vae_tiling=True),
    MemoryPlan(offload="sequential", vae_tiling=True, attention_slicing=True),
)
_PLANS_ON_CPU: Final = (
    MemoryPlan(),
    MemoryPlan(vae_tiling=True),
    MemoryPlan(vae_tiling=True, attention_slicing=True),
)


def memory_plans(*, on_gpu: bool) -> tuple[MemoryPlan, ...]:
    """Return all plans, each slower and smaller than the one before. on_gpu: only then weights can lie elsewhere."""
    return _PLANS_ON_GPU if on_gpu else _PLANS_ON_CPU


def decode_need(max_pixels: int, *, tile_side: int, bytes_per_value: int) -> tuple[int, int]:
    """Return what decoding the largest picture takes whole and in tiles, bytes. tile_side: pixels."""
    per_pixel = DECODE_BYTES_PER_PIXEL * bytes_per_value // 4
    return max_pixels * per_pixel, min(max_pixels, tile_side * tile_side) * per_pixel


def plan_memory(need: MemoryNeed, *, free_bytes: int, on_gpu: bool, saving: int = 0) -> MemoryPlan:
    """Return the fastest plan that fits; where none does, the smallest.

    Args:
        need: of the model.
        free_bytes: of the GPU, or RAM without one, before the weights are there.
        on_gpu: only then is there another place for weights.
        saving: place in ``memory_plans`` of the first one that may be taken; beyond the last one it is that.
    """
    plans = memory_plans(on_gpu=on_gpu)
    for plan in plans[saving:]:
        if _peak_bytes(need, plan) <= free_bytes:
            return plan
    return plans[-1]


def _peak_bytes(need: MemoryNeed, plan: MemoryPlan) -> int:
    """Return what a plan takes of the GPU, or of RAM without one; of single layers nothing is known."""
    decode_bytes = need.tiled_bytes if plan.vae_tiling else need.decode_bytes
    return (need.weights_bytes if plan.offload == "none" else need.largest_bytes) + decode_bytes
