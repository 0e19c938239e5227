"""Prompts for benches of text engines, and the engine's side of completing them."""

import asyncio
import contextlib
import itertools
import time

from gpunode_engines.base import Finished, GenerateRequest
from gpunode_engines.supervisor import SupervisedEngine

from gpunode_benchmarks.engines.turns import Order
from gpunode_benchmarks.errors import BenchmarkFailed

WARM_UP_TOKENS = 4
_WORDS_FROM = 1_000
"""Of SmolLM2's vocabulary; below are bytes and what is special."""
_PROMPT_TOKENS = 8


def prompt_of(number: int) -> tuple[int, ...]:
    """Return the prompt ``number`` (0 to 40,000) as token ids; none equals another one or begins like it.

    Short, so that decoding, the steady part of a job, takes most of the time.
    """
    return tuple(range(_WORDS_FROM + number, _WORDS_FROM + number + _PROMPT_TOKENS))


class TextOrders:
    """Makes orders for all sides, no prompt of which comes twice."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def order(self, streams: int, output_tokens: int) -> Order:
        """Return the next order, in the words of ``bare.llamacpp_child``."""
        prompts = [prompt_of(number) for number in itertools.islice(self._numbers, streams)]
        return {"prompts": prompts, "output_tokens": output_tokens}


async def run_text(engine: SupervisedEngine, order: Order) -> float:
    """Complete all prompts at once with exactly so many tokens each; return seconds.

    Raises:
        BenchmarkFailed: a job ended early.
    """
    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, prompt in enumerate(order["prompts"]):
            group.create_task(_complete(engine, f"bench-{number}", prompt, order["output_tokens"]))
    return time.perf_counter() - started_at


async def _complete(engine: SupervisedEngine, job_key: str, prompt: tuple[int, ...], output_tokens: int) -> None:
    request = GenerateRequest(
        job_key=job_key, prompt_ids=prompt, max_tokens=output_tokens, temperature=0.0, ignore_eos=True
    )
    reason = None
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                reason = event.reason
    if reason != "length":
        raise BenchmarkFailed(f"The engine ended a job with {reason!r} instead of all its tokens.")
