"""Calls that a closing client ends."""

import asyncio
from collections.abc import Awaitable

import pytest
from gpunode._open_calls import OpenCalls
from gpunode.errors import ClientClosed
from gpunode_protocol.tasks import Task

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World


async def _call(calls: OpenCalls, work: Awaitable[object]) -> None:
    async with calls.one():
        await work


@virtual_time
async def test_closing_ends_what_is_under_way() -> None:
    """It is told so, and nothing is begun any more."""
    calls = OpenCalls()
    waiting = [asyncio.create_task(_call(calls, asyncio.sleep(60))) for _ in range(3)]
    await asyncio.sleep(1)
    await asyncio.gather(calls.close(), calls.close())
    assert all(task.done() for task in waiting)
    for task in waiting:
        with pytest.raises(ClientClosed):
            await task
    with pytest.raises(ClientClosed):
        async with calls.one():
            raise AssertionError


@virtual_time
async def test_a_caller_that_is_cancelled_stays_cancelled() -> None:
    """As is a call that runs into its own time limit."""
    calls = OpenCalls()
    waiting = asyncio.create_task(_call(calls, asyncio.sleep(60)))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(TimeoutError):
        await _call(calls, asyncio.wait_for(asyncio.Event().wait(), 1))
    await calls.close()


@virtual_time
async def test_a_closed_client_searches_no_more(world: World) -> None:
    """Whatever a call is waiting for just then: nothing goes on behind the closed client, and nobody is cancelled."""
    world.add_node(where="both", task=Task.EMBEDDING, model="minilm", hesitates_s=60.0)
    world.mesh.find_delay_s = lambda _key: 0.02
    before = asyncio.all_tasks()
    for steps in (*range(1, 40, 3), 500):
        client = world.client()
        calls = [
            asyncio.create_task(client.embed("text", model="minilm")),
            asyncio.create_task(client.nodes(model="minilm", task=Task.EMBEDDING)),
            asyncio.create_task(client.explain(model="minilm", task=Task.EMBEDDING)),
            asyncio.create_task(client.chat(messages=HELLO, model="unknown")),
            asyncio.create_task(client.connect()),
        ]
        for _ in range(steps):
            await asyncio.sleep(0 if steps < 40 else 0.001)
        await client.close()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(ended[0], ClientClosed)
        assert not any(isinstance(error, asyncio.CancelledError) for error in ended)
        assert asyncio.all_tasks() == before


@virtual_time
async def test_closing_the_client_cancels_its_jobs(world: World) -> None:
    """The node is told, and what came until then is paid for."""
    node = world.add_node(endless=True, token_s=0.1)
    client = world.client()
    asking = asyncio.create_task(client.chat(messages=HELLO))
    await asyncio.sleep(1)
    await client.close()
    with pytest.raises(ClientClosed):
        await asking
    assert node.cancelled.is_set()
    assert node.jobs[0].is_settled
