import asyncio
from types import SimpleNamespace
from typing import Any, cast

from gpunode._knocking import Knocker
from gpunode._silence import KNOCK_INTERVAL_S, MAX_SILENCE_S, Silence
from gpunode_protocol.client_job import ClientJob


class _Node:
    """A node that is knocked at. ``answer`` is what the knocks under way find out."""

    def __init__(self) -> None:
        self.knocks = 0
        self.broken_off = 0
        self.has_ended = False
        self.stream_ended = False
        self.answer = asyncio.Event()
        state: dict[str, Any] = {
            "opened_at": 0.0,
            "first_output_at": None,
            "is_queued": False,
            "is_over": False,
            "cancelled": False,
        }
        self.knocker = Knocker(Silence(cast("ClientJob", SimpleNamespace(**state))), self._look, self._end_stream)

    async def _look(self) -> bool:
        self.knocks += 1
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        return self.has_ended

    def _end_stream(self) -> None:
        self.stream_ended = True


async def _settle() -> None:
    """Let tasks that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nobody_knocks_before_it_is_time() -> None:
    """A timer that was for something else."""
    node = _Node()
    node.knocker.on_timer(MAX_SILENCE_S / 2)
    await _settle()
    assert node.knocks == 0


async def test_a_dead_node_ends_the_stream() -> None:
    """The one who reads it sees why."""
    node = _Node()
    node.has_ended = True
    node.answer.set()
    node.knocker.on_timer(MAX_SILENCE_S)
    await _settle()
    assert (node.knocker.found_dead, node.stream_ended) == (True, True)


async def test_whatever_else_a_knock_finds_changes_nothing() -> None:
    """And the next one follows a second later."""
    node = _Node()
    node.answer.set()
    node.knocker.on_timer(MAX_SILENCE_S)
    await _settle()
    assert (node.knocker.found_dead, node.stream_ended) == (False, False)
    assert node.knocker.next_at() == MAX_SILENCE_S + KNOCK_INTERVAL_S


async def test_a_node_that_speaks_is_not_dead() -> None:
    """The knock under way is broken off, whatever it would have said."""
    node = _Node()
    node.has_ended = True
    node.knocker.on_timer(MAX_SILENCE_S)
    await _settle()
    node.knocker.heard(MAX_SILENCE_S + 0.1)
    node.answer.set()
    await _settle()
    assert (node.knocks, node.broken_off, node.stream_ended) == (1, 1, False)


async def test_one_knock_at_a_time() -> None:
    """One that has said nothing by the time of the next is given up."""
    node = _Node()
    node.knocker.on_timer(MAX_SILENCE_S)
    await _settle()
    node.knocker.on_timer(MAX_SILENCE_S + KNOCK_INTERVAL_S)
    await _settle()
    assert (node.knocks, node.broken_off) == (2, 1)
    node.knocker.stop()
    await _settle()
    assert node.broken_off == 2
