"""An event loop whose clock jumps to the next timer when nothing else is left to do: minutes pass in no time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping, advances the clock; real events and threads at work come first."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0
        self.threads_at_work = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return real events, or none after a jump."""
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.threads_at_work:
            return super().select(None)
        if timeout is None:
            raise RuntimeError("Nothing is left that could happen: the test waits for ever.")
        self.now_s += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``time()`` is virtual; work in executors takes no virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._jumping.now_s

    def hold_up(self, seconds: float) -> None:
        """Let time pass in which the loop runs nothing, as when somebody blocks it."""
        self._jumping.now_s += seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Stop the clock while a thread works."""
        self._jumping.threads_at_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: self._finished())
        return future

    async def shutdown_default_executor(self) -> None:
        """Wait for the threads in real time."""
        self._jumping.threads_at_work += 1
        await super().shutdown_default_executor()
        self._finished()

    def _finished(self) -> None:
        self._jumping.threads_at_work -= 1


class CreepingTimeLoop(VirtualTimeLoop):
    """Time passes a little whenever somebody looks, as it really does: for tests whose instants are not round numbers.

    Else a timer may end a rounding error too early, and who looks whether it is time would look for ever.
    """

    def time(self) -> float:
        """Return virtual seconds, a nanosecond more each time."""
        self._jumping.now_s += 1e-9
        return self._jumping.now_s


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a ``VirtualTimeLoop``."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
