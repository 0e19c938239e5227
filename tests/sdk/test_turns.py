import asyncio

import pytest
from gpunode._turns import MAX_TURN_S, Turns

from tests.node.virtual_time import virtual_time

NODE = "12D3KooWNode"


class _Jobs:
    """Jobs that take a turn each, for so many seconds; who began when is written down."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.began: list[tuple[str, float]] = []

    async def send(self, name: str, takes_s: float, *, node: str = NODE) -> None:
        """Take a turn."""
        turn = await self.turns.next(node)
        self.began.append((name, round(asyncio.get_running_loop().time(), 4)))
        await asyncio.sleep(takes_s)
        turn.end()


@virtual_time
async def test_one_after_the_other() -> None:
    """Each begins when the one before was accepted, in the order of the calls."""
    jobs, start = _Jobs(), asyncio.get_running_loop().time()
    await asyncio.gather(*(jobs.send(name, 0.005) for name in "abc"))
    assert jobs.began == [("a", start), ("b", round(start + 0.005, 4)), ("c", round(start + 0.010, 4))]


@virtual_time
async def test_a_node_that_is_gone_holds_nobody_up() -> None:
    """All others begin after 20 ms, not one more every 20 ms."""
    jobs, start = _Jobs(), asyncio.get_running_loop().time()
    await asyncio.gather(*(jobs.send(name, 10.0) for name in "abc"))
    late = round(start + MAX_TURN_S, 4)
    assert jobs.began == [("a", start), ("b", late), ("c", late)]


@virtual_time
async def test_nodes_do_not_wait_for_each_other() -> None:
    """A turn is a node's."""
    jobs, start = _Jobs(), asyncio.get_running_loop().time()
    await asyncio.gather(jobs.send("a", 1.0), jobs.send("b", 1.0, node="12D3KooWOther"))
    assert jobs.began == [("a", start), ("b", start)]


@virtual_time
async def test_a_job_that_is_cancelled_while_it_waits_lets_the_next_go() -> None:
    """And leaves nothing behind."""
    jobs, start = _Jobs(), asyncio.get_running_loop().time()
    first, second, third = (asyncio.create_task(jobs.send(name, 0.01)) for name in "abc")
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)
    with pytest.raises(asyncio.CancelledError):
        await second
    assert jobs.began[0] == ("a", start)
    assert [name for name, _ in jobs.began] == ["a", "c"]
    assert jobs.turns._last == {}


@virtual_time
async def test_a_turn_that_nobody_ends_is_over_in_time() -> None:
    """The job failed before it was accepted; a later one does not wait for it."""
    turns = Turns()
    await turns.next(NODE)
    await asyncio.sleep(MAX_TURN_S)
    assert turns._last == {}
