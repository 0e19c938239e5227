"""Honest clients with long streams of a paced engine, which go on whatever happens to the node."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gpunode import AsyncInferenceClient
from gpunode.errors import ClientError

from gpunode_benchmarks.flood_rates import Arrival
from gpunode_benchmarks.overhead_engines import paced_model
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_benchmarks.time_words import WORD_BYTES, age_s

TOKEN_INTERVAL_MS: Final = 33
MODEL: Final = paced_model(TOKEN_INTERVAL_MS)
"""30 tokens/s a stream."""
CLIENTS: Final = 4
STREAMS_PER_CLIENT: Final = 2
JOB_TOKENS: Final = 3_000
"""A job lasts 99 s: longer than the bench."""
_RETRY_PAUSE_S: Final = 0.2
_MS_PER_S: Final = 1_000


@dataclass
class HonestStreams:
    """arrivals: all tokens of all streams, oldest first. broken: jobs that ended before their time."""

    arrivals: list[Arrival] = field(default_factory=list)
    broken: int = 0

    async def run(self, client: AsyncInferenceClient) -> None:
        """Stream until cancelled; a job that breaks is followed by another."""
        while True:
            try:
                await self._job(client)
            except ClientError:
                self.broken += 1
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _job(self, client: AsyncInferenceClient) -> None:
        stream = await client.chat(
            messages=[{"role": "user", "content": "paced"}],
            model=MODEL,
            max_tokens=JOB_TOKENS,
            temperature=0.0,
            stream=True,
        )
        async with stream:
            async for chunk in stream:
                now_s = time.monotonic()
                for begin in range(0, len(chunk.text), WORD_BYTES):
                    lag_s = age_s(chunk.text[begin : begin + WORD_BYTES], now_s)
                    self.arrivals.append(Arrival(now_s, lag_s * _MS_PER_S))


@asynccontextmanager
async def honest_streams(network: OverheadNetwork) -> AsyncIterator[HonestStreams]:
    """Start clients and their streams; they are cancelled at the end of the context."""
    streams = HonestStreams()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(network.client(MODEL, number)) for number in range(CLIENTS)]
        tasks = [asyncio.create_task(streams.run(client)) for client in clients for _ in range(STREAMS_PER_CLIENT)]
        try:
            yield streams
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
