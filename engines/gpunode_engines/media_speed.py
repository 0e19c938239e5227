"""Measuring engines of embeddings with one job of a fixed size."""

import asyncio
import contextlib

from gpunode_engines.base import NO_LIMIT_PER_S, Engine, MeasuredSpeed
from gpunode_engines.media import EmbeddingRequest

_JOB_KEY = "speed-measurement"
_TEXT = "The quick brown fox jumps over the lazy dog while seven wizards brew strong tea."
_TEXTS = 16


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
