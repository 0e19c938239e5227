"""Embeddings: how many tokens a second are read."""

from collections.abc import AsyncGenerator
from typing import Any

from gpunode_engines.base import NO_LIMIT_PER_S, Event, Finished, PreparedPrompt
from gpunode_engines.media import EmbeddingRequest
from gpunode_engines.media_speed import measure_embedding


class _Engine:
    """Counts each input as ten tokens."""

    async def prepare(self, request: EmbeddingRequest) -> PreparedPrompt:
        return PreparedPrompt(token_ids=(1,) * 10 * len(request.inputs), rendered=b"")

    async def generate(self, request: EmbeddingRequest) -> AsyncGenerator[Event, None]:
        yield Finished(reason="stop", prompt_tokens=10 * len(request.inputs), output_tokens=0)


async def test_the_rate_is_that_of_the_input() -> None:
    """Output of embeddings takes no time of its own."""
    engine: Any = _Engine()
    speed = await measure_embedding(engine)
    assert (speed.prompt_tokens, speed.output_tokens) == (160, 0)
    assert speed.prefill_tokens_per_s == 160 / speed.ttft_s
    assert speed.decode_tokens_per_s == NO_LIMIT_PER_S
