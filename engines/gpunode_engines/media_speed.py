"""Measuring engines of embeddings and images with one small job."""

import asyncio
import contextlib

from gpunode_protocol.payloads import IMAGE_UNIT_PIXEL_STEPS

from gpunode_engines.base import NO_LIMIT_PER_S, Engine, MeasuredSpeed, Progress
from gpunode_engines.errors import BackendFailed
from gpunode_engines.media import EmbeddingRequest, ImageRequest

_JOB_KEY = "speed-measurement"
_TEXT = "The quick brown fox jumps over the lazy dog while seven wizards brew strong tea."
_TEXTS = 16

_IMAGE_PROMPT = "a lighthouse"
IMAGE_STEPS = 4
"""The first one warms up; the others, with decoding and writing the picture, are what is measured."""


async def measure_embedding(engine: Engine) -> MeasuredSpeed:
    """Embed some sentences on an idle engine.

    Raises:
        EngineError: as ``Engine.generate``.
    """
    request = EmbeddingRequest(job_key=_JOB_KEY, inputs=(_TEXT,) * _TEXTS)
    tokens = len((await engine.prepare(request)).token_ids)
    clock = asyncio.get_running_loop().time
    started_at = clock()
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for _ in events:
            pass
    duration_s = clock() - started_at
    return MeasuredSpeed(
        prefill_tokens_per_s=tokens / duration_s,
        decode_tokens_per_s=NO_LIMIT_PER_S,
        ttft_s=duration_s,
        prompt_tokens=tokens,
        output_tokens=0,
    )


async def measure_image(engine: Engine) -> MeasuredSpeed:
    """Draw one picture of the model's own size in a few steps on an idle engine.

    Decoding weighs more in so few steps than in a real job, so that a node promises less than it does.

    Raises:
        EngineError: as ``Engine.generate``.
    """
    side = engine.info.image_side
    request = ImageRequest(job_key=_JOB_KEY, prompt=_IMAGE_PROMPT, width=side, height=side, steps=IMAGE_STEPS, seed=0)
    clock = asyncio.get_running_loop().time
    started_at = clock()
    steps_at: list[float] = []
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Progress):
                steps_at.append(clock())
    if len(steps_at) < IMAGE_STEPS:
        raise BackendFailed("The engine told too few steps to measure its speed; try again.")
    units = side * side * (IMAGE_STEPS - 1) / IMAGE_UNIT_PIXEL_STEPS
    return MeasuredSpeed(
        prefill_tokens_per_s=NO_LIMIT_PER_S,
        decode_tokens_per_s=units / (clock() - steps_at[0]),
        ttft_s=steps_at[0] - started_at,
        prompt_tokens=0,
        output_tokens=0,
    )
