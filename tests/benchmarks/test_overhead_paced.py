import asyncio

import pytest
from gpunode import AsyncInferenceClient, _warmth
from gpunode_benchmarks.overhead_engines import paced_model
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_benchmarks.overhead_paced import (
    COUNTED_TOKENS,
    LAG_TOKENS,
    MODEL,
    STREAMS,
    measure_lags,
    over_clients,
    paced_clients,
    run_paced,
    stream_bytes,
)

_HUNDRED = 100
_TOKENS = 60
_HUNDRED_TIMEOUT_S = 100.0


@pytest.mark.full
async def test_the_bytes_of_a_token_are_those_on_its_connection(
    overhead: OverheadNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a frame's bare content and its packet's headers, and within what the network promises.

    Probes of warm connections are kept out: how many fall into the time of so few tokens is chance.
    """
    monkeypatch.setattr(_warmth, "BUSY_INTERVAL_S", 600.0)
    async with overhead.client(MODEL, "bytes") as client:
        stream = await stream_bytes(overhead, client)
    assert 90 < stream.wire_bytes / COUNTED_TOKENS <= 160


@pytest.mark.full
async def test_lags_are_of_the_time_when_all_streams_ran(overhead: OverheadNetwork) -> None:
    """At most one a token; every one is a time that has passed."""
    async with paced_clients(overhead, MODEL, STREAMS) as clients:
        lags = await measure_lags(clients)
    assert 0 < len(lags) <= STREAMS * LAG_TOKENS
    assert min(lags) > 0


@pytest.mark.full
async def test_a_hundred_streams_of_30_tokens_a_second_all_complete(overhead: OverheadNetwork) -> None:
    """Through one node, at once, every token there and every receipt verified."""
    begun: set[int] = set()
    whole: list[int] = []
    at_once = 0

    async def run(number: int, client: AsyncInferenceClient) -> None:
        def on_token(_place: int, _text: str) -> None:
            nonlocal at_once
            begun.add(number)
            at_once = max(at_once, len(begun) - len(whole))

        await run_paced(client, paced_model(33), _TOKENS, on_token)
        whole.append(number)

    async with (
        asyncio.timeout(_HUNDRED_TIMEOUT_S),
        paced_clients(overhead, paced_model(33), _HUNDRED) as clients,
    ):
        await over_clients(clients, _HUNDRED, run)
    assert sorted(whole) == list(range(_HUNDRED))
    assert at_once == _HUNDRED
