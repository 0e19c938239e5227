"""Slicing, tiling and offload follow from the free memory alone."""

import pytest
from gpunode_engines.image_memory import (
    DECODE_BYTES_PER_PIXEL,
    MemoryNeed,
    MemoryPlan,
    decode_need,
    memory_plans,
    plan_memory,
)

GIB = 1024**3
NEED = MemoryNeed(weights_bytes=7 * GIB, largest_bytes=5 * GIB, decode_bytes=8 * GIB, tiled_bytes=2 * GIB)


@pytest.mark.parametrize(
    ("free_gib", "on_gpu", "plan"),
    [
        (15, True, MemoryPlan()),
        (14, True, MemoryPlan(vae_tiling=True)),
        (9, True, MemoryPlan(vae_tiling=True)),
        (8, True, MemoryPlan(offload="model", vae_tiling=True)),
        (6, True, MemoryPlan(offload="sequential", vae_tiling=True, attention_slicing=True)),
        (15, False, MemoryPlan()),
        (9, False, MemoryPlan(vae_tiling=True)),
        (8, False, MemoryPlan(vae_tiling=True, attention_slicing=True)),
        (1, False, MemoryPlan(vae_tiling=True, attention_slicing=True)),
    ],
)
def test_the_fastest_plan_that_fits(free_gib: int, on_gpu: bool, plan: MemoryPlan) -> None:
    """Each step down costs speed, so it is taken only where it must be."""
    assert plan_memory(NEED, free_bytes=free_gib * GIB, on_gpu=on_gpu) == plan


def test_tiles_bound_what_decoding_takes() -> None:
    """Half the bytes in half precision; a picture smaller than a tile is one tile."""
    whole, tiled = decode_need(1024 * 1024, tile_side=512, bytes_per_value=4)
    assert (whole, tiled) == (1024 * 1024 * DECODE_BYTES_PER_PIXEL, 512 * 512 * DECODE_BYTES_PER_PIXEL)
    assert decode_need(1024 * 1024, tile_side=512, bytes_per_value=2) == (whole // 2, tiled // 2)
    assert decode_need(64 * 64, tile_side=512, bytes_per_value=4)[1] == 64 * 64 * DECODE_BYTES_PER_PIXEL


@pytest.mark.parametrize("on_gpu", [True, False])
def test_each_step_of_saving_takes_the_next_plan(on_gpu: bool) -> None:
    """However much is free; beyond the last step it stays the last."""
    plans = memory_plans(on_gpu=on_gpu)
    taken = [plan_memory(NEED, free_bytes=99 * GIB, on_gpu=on_gpu, saving=step) for step in range(len(plans) + 1)]
    assert taken == [*plans, plans[-1]]


def test_what_is_free_can_ask_for_more_than_the_step() -> None:
    """The step is the least that is saved."""
    assert plan_memory(NEED, free_bytes=8 * GIB, on_gpu=True, saving=1).offload == "model"
