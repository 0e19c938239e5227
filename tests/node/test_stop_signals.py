"""Signals to the daemon."""

import asyncio
import os
import signal

import pytest
from gpunode_node.stop_signals import StopSignals


async def _wait() -> None:
    await asyncio.Event().wait()


async def test_first_and_second() -> None:
    """The first asks, the second cancels, the third is too much."""
    main, asked = asyncio.create_task(_wait()), asyncio.Event()
    with StopSignals(main, asked) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        await asked.wait()
        assert not main.done()
        assert not signals.at_once
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(asyncio.CancelledError):
            await main
        assert signals.at_once
        signals.receive()


async def test_handlers_are_taken_away() -> None:
    """Afterwards the signals mean again what they meant before."""
    before = signal.getsignal(signal.SIGTERM)
    main = asyncio.create_task(_wait())
    with StopSignals(main, asyncio.Event()):
        pass
    main.cancel()
    assert signal.getsignal(signal.SIGTERM) == before
