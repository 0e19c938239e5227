"""The two sides of the overhead bench: one engine's child, called by its node's process, or through the network."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gpunode import AsyncInferenceClient

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.overhead_engines import SYSTEM
from gpunode_benchmarks.overhead_network import DirectCalls


class Side(StrEnum):
    """Who asks the engine."""

    DIRECT = "direct"  #: the process that owns the child, without a network
    NETWORK = "network"  #: SDK, mesh and node, on loopback


@dataclass(frozen=True, slots=True)
class Outcome:
    """elapsed_s: until the last of the jobs was done (on the network: verified). ttft_s: of each job."""

    elapsed_s: float
    ttft_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sides:
    """Runs prompts at once, greedy, with exactly so many output tokens each."""

    client: AsyncInferenceClient
    calls: DirectCalls
    model: str

    async def run(self, side: Side, prompts: Sequence[str], output_tokens: int) -> Outcome:
        """Run the prompts on one side.

        Raises:
            BenchmarkFailed: a job had another number of tokens. GpunodeError: it failed.
        """
        if side is Side.DIRECT:
            elapsed_s, ttft_s = await self.calls.run(self.model, prompts, output_tokens)
            return Outcome(elapsed_s, tuple(ttft_s))
        started_at = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(self._chat(prompt, output_tokens)) for prompt in prompts]
        return Outcome(time.perf_counter() - started_at, tuple(job.result() for job in jobs))

    async def _chat(self, prompt: str, output_tokens: int) -> float:
        """Return the seconds from the call to the first token."""
        started_at = time.perf_counter()
        ttft_s = 0.0
        stream = await self.client.chat(
            messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
            model=self.model,
            max_tokens=output_tokens,
            temperature=0.0,
            stream=True,
        )
        async for chunk in stream:
            if not ttft_s and chunk.ids:
                ttft_s = time.perf_counter() - started_at
        if stream.result.usage.completion_tokens != output_tokens:
            raise BenchmarkFailed("A job ended before its last token; run it again.")
        return ttft_s
