"""What is done again and again."""

import asyncio
import logging

import pytest
from gpunode_tracker.errors import NotFound
from gpunode_tracker.repeating import attempt, every


class Turns:
    """Counts its turns, fails as told, and is cancelled from within at the last one."""

    def __init__(self, *failures: Exception | None) -> None:
        self.count = 0
        self._failures = failures

    async def take(self) -> None:
        """Fail or not; the turn after the last is the end."""
        self.count += 1
        if self.count > len(self._failures):
            raise asyncio.CancelledError
        failure = self._failures[self.count - 1]
        if failure is not None:
            raise failure


@pytest.mark.parametrize("at_once", [True, False])
async def test_failures_end_nothing(at_once: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Each is logged once, and the next turn comes; a cancellation is the end."""
    turns = Turns(NotFound("There is none."), None, ValueError("out of luck"), None)
    with pytest.raises(asyncio.CancelledError):
        await every(0, turns.take, "turn_failed", at_once=at_once)
    assert turns.count == 5
    events = [vars(record)["event"] for record in caplog.records]
    assert events == ["turn_failed", "turn_failed"]


async def test_the_first_turn_may_be_later() -> None:
    """After the first interval, if it is not to be at once."""
    for at_once in (True, False):
        turns = Turns(None)
        running = asyncio.create_task(every(3600, turns.take, "turn_failed", at_once=at_once))
        await asyncio.sleep(0)
        assert turns.count == at_once
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_foreseen_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Of the level that is asked for, without a traceback; what is not has one, always as an error."""
    caplog.set_level(logging.DEBUG)
    await attempt(Turns(NotFound("There is none.")).take, "turn_failed", level=logging.INFO)
    await attempt(Turns(ValueError("out of luck")).take, "turn_failed", level=logging.INFO)
    foreseen, unforeseen = caplog.records
    assert (foreseen.levelno, foreseen.getMessage(), foreseen.exc_info) == (logging.INFO, "There is none.", None)
    assert (unforeseen.levelno, unforeseen.exc_info is not None) == (logging.ERROR, True)
