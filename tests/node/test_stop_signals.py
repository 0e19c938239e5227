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


async def test_a_loop_without_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows loops have none: Python's own do the same, and are taken away too."""

    def none_here(*_: object) -> None:
        raise NotImplementedError

    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "add_signal_handler", none_here)
    main, asked = asyncio.create_task(_wait()), asyncio.Event()
    with StopSignals(main, asked):
        os.kill(os.getpid(), signal.SIGTERM)
        await asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(asyncio.CancelledError):
            await main
    assert signal.getsignal(signal.SIGTERM) == before


async def test_handlers_are_taken_away() -> None:
    """Afterwards the signals mean again what they meant before."""
    before = signal.getsignal(signal.SIGTERM)
    main = asyncio.create_task(_wait())
    with StopSignals(main, asyncio.Event()):
        pass
    main.cancel()
    assert signal.getsignal(signal.SIGTERM) == before
