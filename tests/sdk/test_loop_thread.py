import asyncio
import contextlib
import sys
import threading

import pytest
import uvloop
from gpunode._loop_thread import _new_loop, shared_loop


async def _name() -> str:
    return threading.current_thread().name


def test_coroutines_run_in_another_thread() -> None:
    """One thread for the whole process."""
    assert shared_loop().run(_name()) == "gpunode-client"
    assert shared_loop() is shared_loop()


def test_a_call_from_its_own_thread_does_not_hang() -> None:
    """Waiting there for itself would never end."""
    loop = shared_loop()

    async def nested() -> None:
        loop.run(_name())

    with pytest.raises(RuntimeError, match="AsyncInferenceClient"):
        loop.run(nested())


def test_an_interrupted_wait_cancels_the_coroutine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while waiting must not leave the work running."""
    loop, started, cancelled = shared_loop(), threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    class Interrupted:
        def __init__(self, future: object) -> None:
            self._future = future

        def result(self) -> None:
            assert started.wait(5)
            raise KeyboardInterrupt

        def cancel(self) -> None:
            self._future.cancel()  # type: ignore[attr-defined]  # -- a future

    submit = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", lambda work, loop: Interrupted(submit(work, loop)))
    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert cancelled.wait(5)


def test_the_thread_is_a_daemon() -> None:
    """It must not keep the interpreter alive."""
    shared_loop()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "gpunode-client")


def test_the_loop_is_the_faster_one_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client alone, and Windows, have asyncio's."""
    with contextlib.closing(_new_loop()) as loop:
        assert isinstance(loop, uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with contextlib.closing(_new_loop()) as loop:
        assert isinstance(loop, asyncio.SelectorEventLoop)
