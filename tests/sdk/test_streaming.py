import asyncio
import gc

import pytest
from gpunode.errors import ClientError, NoNodeFound
from gpunode.streaming import AsyncChatStream
from gpunode.types import Chunk

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World


async def test_chunks_come_one_by_one_and_the_result_at_the_end(world: World) -> None:
    """Texts and ids join to the answer; before the end there is no result."""
    node = world.add_node()
    async with world.client() as client, await client.chat(messages=HELLO, stream=True) as chunks:
        assert chunks.route is None
        first = await anext(chunks)
        assert (first.text, first.ids) == ("Paris", (0,))
        assert chunks.route is not None
        assert chunks.route.node == node.peer_id
        with pytest.raises(ClientError, match="has not come to its end"):
            _ = chunks.result
        rest = [chunk async for chunk in chunks]
        assert first.text + "".join(chunk.text for chunk in rest) == chunks.result.response


async def test_leaving_early_cancels_the_job_and_pays_for_it(world: World) -> None:
    """The node is told, ends the job, and gets a voucher for what was received."""
    node = world.add_node(endless=True)
    async with world.client() as client:
        async with await client.chat(messages=HELLO, stream=True) as chunks:
            async for _ in chunks:
                break
        await node.cancelled.wait()
    receipt = node.jobs[0].receipt
    assert receipt is not None
    assert receipt.body.finish_reason == "cancelled"
    assert node.jobs[0].is_settled


async def test_a_forgotten_stream_cancels_the_job(world: World) -> None:
    """No close() is needed: the garbage collector's word is enough, without a reference cycle."""
    node = world.add_node(endless=True)
    async with world.client() as client:
        chunks = await client.chat(messages=HELLO, stream=True)
        await anext(chunks)
        gc.disable()
        try:
            del chunks
            async with asyncio.timeout(5):
                await node.cancelled.wait()
        finally:
            gc.enable()


@virtual_time
async def test_a_stream_can_be_closed_while_its_next_piece_is_awaited(world: World) -> None:
    """Ctrl-C does so, and whoever waits learns that there is no more."""
    world.add_node(mute_after=1)
    async with world.client() as client:
        chunks = await client.chat(messages=HELLO, stream=True)
        await anext(chunks)
        reading = asyncio.create_task(_rest(chunks))
        await asyncio.sleep(1)
        await chunks.close()
        assert await reading == []
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


@virtual_time
async def test_a_stream_can_be_closed_just_when_a_piece_has_come(world: World) -> None:
    """Whoever was about to ask for the next one learns likewise that there is no more, at whatever step that is."""
    world.add_node(endless=True, token_s=1.0)
    async with world.client() as client:
        for steps in range(20):
            chunks = await client.chat(messages=HELLO, stream=True)
            await anext(chunks)
            reading = asyncio.create_task(_rest(chunks))
            await asyncio.sleep(1)
            for _ in range(steps):
                await asyncio.sleep(0)
            await chunks.close()
            assert len(await reading) <= 1


@virtual_time
async def test_a_stream_can_be_closed_while_its_reader_is_cancelled(world: World) -> None:
    """Ctrl-C at a synchronous client does both, at whatever step the piece is that has just come."""
    world.add_node(endless=True, token_s=1.0)
    async with world.client() as client:
        for steps in range(16):
            chunks = await client.chat(messages=HELLO, stream=True)
            await anext(chunks)
            reading = asyncio.create_task(_rest(chunks))
            await asyncio.sleep(1)
            for _ in range(steps // 4):
                await asyncio.sleep(0)
            reading.cancel()
            for _ in range(1 + steps % 4):
                await asyncio.sleep(0)
            await asyncio.gather(chunks.close(), chunks.close())
            await asyncio.wait({reading})
            assert reading.cancelled() or len(await reading) <= 1


@virtual_time
async def test_a_stream_has_one_reader_at_a_time(world: World) -> None:
    """A second one is told so; the first goes on, and closing still reaches it."""
    world.add_node(endless=True, token_s=1.0)
    async with world.client() as client:
        chunks = await client.chat(messages=HELLO, stream=True)
        await anext(chunks)
        reading = asyncio.create_task(_rest(chunks))
        await asyncio.sleep(1.5)
        with pytest.raises(ClientError, match="one reader"):
            await anext(chunks)
        await chunks.close()
        assert len(await reading) == 1


async def _rest(chunks: AsyncChatStream) -> list[Chunk]:
    return [chunk async for chunk in chunks]


async def test_closing_the_client_closes_its_streams(world: World) -> None:
    """A stream that is open when the client closes is cancelled, not left to the node's patience."""
    node = world.add_node(endless=True)
    client = world.client()
    chunks = await client.chat(messages=HELLO, stream=True)
    await anext(chunks)
    await client.close()
    assert node.cancelled.is_set()
    assert node.jobs[0].is_settled


async def test_a_cancelled_task_cancels_the_job(world: World) -> None:
    """Cancelling the caller's task is an early close too."""
    node = world.add_node(endless=True)
    received = asyncio.Event()

    async def read_on() -> None:
        async for _ in await client.chat(messages=HELLO, stream=True):
            received.set()

    async with world.client() as client:
        reader = asyncio.create_task(read_on())
        await received.wait()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await node.cancelled.wait()


async def test_errors_come_out_of_the_iteration(world: World) -> None:
    """The stream is lazy: finding nobody is told at the first step."""
    async with world.client() as client:
        chunks = await client.chat(messages=HELLO, stream=True)
        with pytest.raises(NoNodeFound):
            await anext(chunks)
