"""Reading ahead of a slow caller."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from gpunode._read_ahead import read_ahead
from gpunode_protocol.adverts import Speed

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World


class Source:
    """Yields numbers and notes how far it came. broken_at: raises instead of yielding this."""

    def __init__(self, count: int, broken_at: int | None = None) -> None:
        self.yielded = 0
        self.is_closed = False
        self._count = count
        self._broken_at = broken_at

    async def numbers(self) -> AsyncGenerator[int, None]:
        """Yield them, each after a moment."""
        try:
            for number in range(self._count):
                await asyncio.sleep(1)
                if number == self._broken_at:
                    raise ValueError(number)
                self.yielded += 1
                yield number
        finally:
            self.is_closed = True


@virtual_time
async def test_the_source_goes_on_while_the_caller_does_something_else() -> None:
    """All is there when it comes back, in order."""
    source = Source(5)
    async with aclosing(read_ahead(source.numbers())) as numbers:
        assert await anext(numbers) == 0
        await asyncio.sleep(10)
        assert source.yielded == 5
        assert [number async for number in numbers] == [1, 2, 3, 4]


@virtual_time
async def test_no_more_is_kept_than_the_limit() -> None:
    """Beyond it the source waits: one item is in its hand, the others in the queue."""
    source = Source(9)
    async with aclosing(read_ahead(source.numbers(), limit=2)) as numbers:
        await anext(numbers)
        await asyncio.sleep(60)
        assert source.yielded == 4


@virtual_time
async def test_an_error_comes_after_what_came_before_it() -> None:
    """Nothing is lost by it."""
    numbers = read_ahead(Source(5, broken_at=2).numbers())
    first = await anext(numbers)
    await asyncio.sleep(10)
    assert (first, await anext(numbers)) == (0, 1)
    with pytest.raises(ValueError, match="2"):
        await anext(numbers)


@virtual_time
async def test_closing_it_closes_the_source() -> None:
    """Also while the source waits for its next item."""
    source = Source(5)
    numbers = read_ahead(source.numbers())
    await anext(numbers)
    await numbers.aclose()
    assert source.is_closed


@virtual_time
async def test_a_caller_that_pauses_keeps_its_node(world: World) -> None:
    """The node is vouched for and can finish meanwhile, instead of ending the job for want of vouchers after 10 s."""
    speed = Speed(input_milliunits_per_s=500_000, output_milliunits_per_s=60_000)
    node = world.add_node(words=tuple(f" {number}" for number in range(500)), token_s=1 / 60, speed=speed)
    async with world.client() as client:
        async with await client.chat(messages=HELLO, max_tokens=500, stream=True) as chunks:
            first = await anext(chunks)
            await asyncio.sleep(15)
            assert node.jobs[0].is_settled
            rest = [chunk async for chunk in chunks]
        assert sum(len(chunk.ids) for chunk in (first, *rest)) == 500
        assert [part.node for part in chunks.result.route.segments] == [node.peer_id]
