"""A daemon's process from start to exit code; whole daemons are in ``test_daemon`` and ``pull/test_daemon``."""

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gpunode_node.errors import NodeFolderInUse, NodeFolderLost, RegionUnknown
from gpunode_node.node_folder import NodeFolder
from gpunode_node.process_life import EXIT_AT_ONCE, EXIT_DRAINED, ProcessLife, end_tasks, keep_for_good

from tests.node.virtual_time import virtual_time


class _Daemon:
    """Keeps what was done; its stack has one part."""

    def __init__(self, folder: Path) -> None:
        self.done: list[str] = []
        self.may_start, self.serving, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.folder = NodeFolder(folder)
        self.life = ProcessLife(self.folder, self.start, self.serve)

    async def start(self, stack: AsyncExitStack) -> str:
        stack.callback(self.done.append, "unwound")
        await self.may_start.wait()
        return "parts"

    async def serve(self, parts: str, _: AsyncExitStack) -> None:
        self.done.append(parts)
        self.serving.set()
        await self.life.asked.wait()
        await self.may_end.wait()
        self.done.append("drained")


async def test_an_orderly_end(tmp_path: Path) -> None:
    """The first signal is told to the daemon, which ends in its own time; the folder is free then."""
    daemon = _Daemon(tmp_path / "n")
    daemon.may_start.set()
    running = asyncio.create_task(daemon.life.run())
    await daemon.serving.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await daemon.life.asked.wait()
    daemon.may_end.set()
    assert await running == EXIT_DRAINED
    assert daemon.done == ["parts", "drained", "unwound"]
    daemon.folder.take()
    daemon.folder.give_back()


async def test_an_end_at_once(tmp_path: Path) -> None:
    """The second signal cuts it short, but what was started is ended."""
    daemon = _Daemon(tmp_path / "n")
    daemon.may_start.set()
    running = asyncio.create_task(daemon.life.run())
    await daemon.serving.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await daemon.life.asked.wait()
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == EXIT_AT_ONCE
    assert daemon.done == ["parts", "unwound"]


@virtual_time
async def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    """The daemon is asked to end in its own time, which is no success: its key and what it is owed were there."""
    daemon = _Daemon(tmp_path / "n")
    daemon.may_start.set()
    running = asyncio.create_task(daemon.life.run())
    await daemon.serving.wait()
    daemon.folder.path.rename(tmp_path / "moved")
    await daemon.life.asked.wait()
    daemon.may_end.set()
    with pytest.raises(NodeFolderLost, match=r"n was deleted, moved or replaced .* earnings belong to the key"):
        await running
    assert daemon.done == ["parts", "drained", "unwound"]


async def test_a_signal_during_the_start(tmp_path: Path) -> None:
    """Nothing is served; it is an orderly end."""
    daemon = _Daemon(tmp_path / "n")
    running = asyncio.create_task(daemon.life.run())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == EXIT_DRAINED
    assert daemon.done == ["unwound"]


async def test_a_start_that_fails(tmp_path: Path) -> None:
    """The error is the caller's, and so is the folder again; while it is somebody else's, nothing is started."""
    daemon, other = _Daemon(tmp_path / "n"), NodeFolder(tmp_path / "n")
    other.take()
    with pytest.raises(NodeFolderInUse):
        await daemon.life.run()
    assert daemon.done == []
    other.give_back()

    async def start(_: AsyncExitStack) -> str:
        raise RegionUnknown

    with pytest.raises(RegionUnknown):
        await ProcessLife(daemon.folder, start, daemon.serve).run()
    other.take()
    other.give_back()


async def test_tasks_are_ended_whatever_they_do() -> None:
    """One that fails while it is cancelled does not hide the others."""

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert all(task.done() for task in tasks)


def test_what_is_there_is_not_walked_over_again() -> None:
    """The garbage collector leaves it out; this test's process has it all looked at again afterwards."""
    there = [object()]
    gc.collect()
    keep_for_good()
    try:
        assert not any(thing is there for thing in gc.get_objects())
        later = [object()]
        assert any(thing is later for thing in gc.get_objects())
    finally:
        gc.unfreeze()
