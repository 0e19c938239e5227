"""Lag and bytes of tokens, with an engine that puts one out at fixed times and computes nothing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gpunode import AsyncInferenceClient

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.overhead_engines import paced_model
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_benchmarks.tcp_counters import established
from gpunode_benchmarks.time_words import age_s

TOKEN_INTERVAL_MS = 20
MODEL = paced_model(TOKEN_INTERVAL_MS)
STREAMS = 32
STREAMS_PER_CLIENT = 8
"""A node serves one peer no more at once."""
LAG_TOKENS = 80

SKIPPED_TOKENS = 64
"""By then the kernel delays acknowledgements on the connection, as it does on every one in use."""
COUNTED_TOKENS = 128
"""Two vouchers fall due within them, whenever counting begins."""
_SETTLE_S = 1.0
"""After a job; its last frames are on their way by then."""
FURTHER_TOKENS = 16
"""The job's end, ``done`` and the final voucher, must not be among what is counted."""

_MS_PER_S = 1_000

OnToken = Callable[[int, str], None]
"""Gets a token's place in its answer, from 0, and its text."""


@dataclass(frozen=True, slots=True)
class Paced:
    """lags_ms: one a token. wire_bytes: both directions, with TCP and IP headers, while ``counted_tokens`` came."""

    lags_ms: tuple[float, ...]
    wire_bytes: int
    counted_tokens: int


async def measure_paced(network: OverheadNetwork, client: AsyncInferenceClient) -> Paced:
    """Measure bytes with one stream of the given client while four more connect, then lags with 32 streams of those.

    Raises:
        BenchmarkFailed: a job lost a token, or the kernel's counters cannot be read.
    """
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:  # bytes do not mind that others connect meanwhile
            streaming = group.create_task(stream_bytes(network, client))
            connecting = group.create_task(stack.enter_async_context(paced_clients(network, MODEL, STREAMS)))
        stream = streaming.result()
        async with asyncio.TaskGroup() as group:  # nor what is idle that others work
            idling = group.create_task(idle_bytes(network, stream))
            lagging = group.create_task(measure_lags(connecting.result()))
    return Paced(tuple(lagging.result()), stream.wire_bytes - idling.result(), COUNTED_TOKENS)


@dataclass(frozen=True, slots=True)
class StreamBytes:
    """What a connection carried while a stream ran on it. remote_port: of the connection, at the node's end."""

    remote_port: int
    wire_bytes: int


async def stream_bytes(network: OverheadNetwork, client: AsyncInferenceClient) -> StreamBytes:
    """Count the bytes on the connection between both p2pd while 128 tokens of one stream come.

    Raises:
        BenchmarkFailed: as ``measure_paced``.
    """
    port = _tcp_port(network)
    counts: dict[int, dict[int, int]] = {}

    def on_token(place: int, _: str) -> None:
        if place in {SKIPPED_TOKENS, SKIPPED_TOKENS + COUNTED_TOKENS}:
            counts[place] = _bytes_by_connection(port)

    await run_paced(client, MODEL, SKIPPED_TOKENS + COUNTED_TOKENS + FURTHER_TOKENS, on_token)
    before, after = counts.values()
    # the node's other connections have no stream of a job: the one that grew most is it
    grown, remote_port = max(((count - before.get(at, 0), at) for at, count in after.items()))
    return StreamBytes(remote_port, grown)


async def idle_bytes(network: OverheadNetwork, stream: StreamBytes) -> int:
    """Count what that connection carries in the same time without a stream: the probes of a client in use."""
    port = _tcp_port(network)
    await asyncio.sleep(_SETTLE_S)
    idle_from = _bytes_by_connection(port)
    await asyncio.sleep(COUNTED_TOKENS * TOKEN_INTERVAL_MS / _MS_PER_S)
    return max(0, _bytes_by_connection(port).get(stream.remote_port, 0) - idle_from.get(stream.remote_port, 0))


def _bytes_by_connection(port: int) -> dict[int, int]:
    """Return what each of a listener's connections has carried, by the other end's port."""
    return {count.remote_port: count.wire_bytes for count in established(port)}


async def measure_lags(clients: Sequence[AsyncInferenceClient]) -> list[float]:
    """Return the milliseconds that each token took while all 32 streams ran."""
    lags: list[float] = []
    begun: set[int] = set()
    ended: set[int] = set()

    async def run(number: int, client: AsyncInferenceClient) -> None:
        def on_token(_: int, text: str) -> None:
            now_s = time.monotonic()
            begun.add(number)
            if len(begun) == STREAMS and not ended:
                lags.append(age_s(text, now_s) * _MS_PER_S)

        await run_paced(client, MODEL, LAG_TOKENS, on_token)
        ended.add(number)

    await over_clients(clients, STREAMS, run)
    if not lags:
        raise BenchmarkFailed(f"{STREAMS} streams never ran at once: this machine is too busy. Run it again.")
    return lags


@asynccontextmanager
async def paced_clients(
    network: OverheadNetwork, model: str, streams: int
) -> AsyncIterator[Sequence[AsyncInferenceClient]]:
    """Connect as many clients as so many streams need, eight a client; each has a grant and a connection."""
    async with AsyncExitStack() as stack:

        async def connected(number: int) -> AsyncInferenceClient:
            client = await stack.enter_async_context(network.client(model, number))
            await run_paced(client, model, 1)
            return client

        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(connected(number)) for number in range(-(-streams // STREAMS_PER_CLIENT))]
        yield [client.result() for client in clients]


async def over_clients(
    clients: Sequence[AsyncInferenceClient],
    streams: int,
    run: Callable[[int, AsyncInferenceClient], Coroutine[Any, Any, None]],
) -> None:
    """Run so many streams at once, eight a client."""
    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(run(number, clients[number // STREAMS_PER_CLIENT]))


def _ignore(_place: int, _text: str) -> None:
    pass


async def run_paced(client: AsyncInferenceClient, model: str, tokens: int, on_token: OnToken = _ignore) -> None:
    """Run one job of a paced model; ``on_token`` is called as each token comes.

    Raises:
        BenchmarkFailed: tokens are missing.
    """
    place = 0
    stream = await client.chat(
        messages=[{"role": "user", "content": "paced"}],
        model=model,
        max_tokens=tokens,
        temperature=0.0,
        stream=True,
    )
    async for chunk in stream:
        on_token(place, chunk.text)
        place += 1
    if place != tokens:
        raise BenchmarkFailed(f"{place} of {tokens} tokens came; run it again.")


def _tcp_port(network: OverheadNetwork) -> int:
    found = re.search(r"/tcp/(\d+)", " ".join(network.run["addresses"]))
    if found is None:
        raise BenchmarkFailed("The node listens on no TCP port.")
    return int(found[1])
