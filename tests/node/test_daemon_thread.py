"""Threads that nobody waits for."""

import asyncio
import threading

import pytest
from gpunode_node.daemon_thread import run_in_daemon_thread


async def test_the_result_comes_back() -> None:
    """From another thread."""
    assert await run_in_daemon_thread(threading.get_ident) != threading.get_ident()


async def test_an_error_comes_back() -> None:
    """As it was raised."""

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        await run_in_daemon_thread(fail)


def test_a_cancelled_caller_leaves_it_behind() -> None:
    """The loop closes while the work goes on, and its end disturbs nobody."""
    go_on, threads = threading.Event(), list[threading.Thread]()

    async def cancel_it() -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            threads.append(threading.current_thread())
            loop.call_soon_threadsafe(began.set)
            go_on.wait()

        running = asyncio.create_task(run_in_daemon_thread(work))
        await began.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel_it())
    go_on.set()
    (thread,) = threads
    thread.join(10)
    assert thread.daemon
    assert not thread.is_alive()
