"""The event loop on which the synchronous clients of a process run: one daemon thread, made on first use."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from gpunode.errors import BegunBeforeFork

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own, so that it works beside a running loop (Jupyter) too."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.loop = _new_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="gpunode-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return its result; interrupting the wait cancels it.

        Raises:
            BegunBeforeFork: the thread is another process's: it does not survive a fork, and would never answer.
        """
        if self._pid != os.getpid():
            work.close()
            raise BegunBeforeFork
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("InferenceClient was called from its own event loop; use AsyncInferenceClient there.")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting; without effect if the coroutine itself has failed
            raise

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine there without waiting for it."""
        asyncio.run_coroutine_threadsafe(work, self.loop)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop's where it is installed, which a client alone need not have: 12 % less work a job."""
    try:
        import uvloop  # noqa: PLC0415 -- of the extras for nodes, and never on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared_loop() -> LoopThread:
    """Return the process's loop thread."""
    global _shared  # noqa: PLW0603 -- one thread a process, however many clients
    with _lock:
        if _shared is None:
            _shared = LoopThread()
        return _shared


def _forget_after_fork() -> None:
    """Threads do not survive a fork: the child makes its own (and its own lock, which may have been held)."""
    global _shared, _lock
    _shared, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
