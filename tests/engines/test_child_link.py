"""Both ways to a child. The way of systems that cannot hand sockets down is taken here too, with real children."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gpunode_engines import child_link
from gpunode_engines.channel import ChildChannel
from gpunode_engines.child_call import call_parent
from gpunode_engines.child_link import ChildSilent, InheritedSockets, LoopbackCall, OpenLink
from gpunode_engines.child_process import ChildProcess
from gpunode_engines.errors import EngineCrashed, EngineStartFailed
from gpunode_engines.ipc import Ping, Pong
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.scripted_engine import CHILD_PATH, QUICK_LIMITS, SCRIPTED_PLAN, ask, collect, prepare, text_of


@asynccontextmanager
async def calling_engine(open_link: OpenLink = LoopbackCall.open) -> AsyncIterator[SupervisedEngine]:
    """An engine whose child calls back."""
    engine = SupervisedEngine(SCRIPTED_PLAN, QUICK_LIMITS, extra_environment=CHILD_PATH, open_link=open_link)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def listening_link(timeout_s: float = 30.0) -> AsyncIterator[tuple[LoopbackCall, int]]:
    """A link that nobody has called yet, and its port."""
    link = LoopbackCall(timeout_s)
    await link.listen()
    try:
        yield link, int(link.first_words.split()[0])
    finally:
        link.close()
        link.close()


@asynccontextmanager
async def running_process() -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that says nothing until it is told to end."""
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        await process.communicate(b"")


async def test_this_platforms_way() -> None:
    """Sockets are inherited where they can be: nobody listens anywhere."""
    assert child_link.open_link == InheritedSockets.open


async def test_a_job_of_a_child_that_called() -> None:
    """Loading, preparing and tokens take the same frames; the process id is the child's own."""
    async with calling_engine() as engine:
        assert (await prepare(engine, "hi")).token_ids == (104, 105)
        assert text_of(await collect(engine, ask("hello"))) == "hello"
        status = (await prepare(engine, "status")).rendered.decode()
        assert re.search(rf"^Pid:\s*{engine.pid}$", status, re.MULTILINE)


async def test_a_child_that_called_is_not_confined_by_what_would_refuse_its_connections() -> None:
    """It makes them itself, and what is left out is told."""
    async with calling_engine() as engine:
        assert engine.info.confinement.lacks() == ("files by Landlock", "system calls by seccomp")


async def test_a_crash_of_a_child_that_called() -> None:
    """The job fails with the cause, and another child calls."""
    async with calling_engine() as engine:
        with pytest.raises(EngineCrashed, match="exit code 3"):
            await collect(engine, ask("crash"))
        await engine.wait_healthy()
        assert text_of(await collect(engine, ask("hello"))) == "hello"
        assert engine.restarts == 1


async def test_strangers_at_the_listener() -> None:
    """Wrong secrets, garbage and silence keep no child out, and get nothing."""
    strangers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def crowded() -> LoopbackCall:
        link = await LoopbackCall.open()
        port = int(link.first_words.split()[0])
        for number in range(40):
            strangers.append(await asyncio.open_connection("127.0.0.1", port))
            strangers[-1][1].write((b"", b"0" * 64 + b"\n", b"a", b"\xff\n")[number % 4])
        return link

    async with calling_engine(crowded) as engine:
        assert text_of(await collect(engine, ask("hello"))) == "hello"
        for reader, writer in strangers:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_the_first_call_is_the_only_one() -> None:
    """Then nobody listens any more; one that came with it is closed."""
    async with listening_link() as (link, port), running_process() as process:
        with call_parent(link.first_words) as first:
            linked = await link.meet(process)
            assert linked.pid == os.getpid() != process.pid
            with pytest.raises(OSError, match=r"refused|failed"):
                await asyncio.open_connection("127.0.0.1", port)
            child = ChildChannel(first)
            await linked.channel.send(Ping())
            assert await asyncio.to_thread(child.receive) == Ping()
            child.send(Pong())
            assert await linked.channel.receive() == Pong()
            await linked.channel.close()


async def test_two_calls_at_once() -> None:
    """Whoever comes second is closed, though it knows the secret."""
    async with listening_link() as (link, _), running_process() as process:
        with call_parent(link.first_words) as first, call_parent(link.first_words) as second:
            linked = await link.meet(process)
            await linked.channel.close()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.to_thread(first.recv, 1) == b""
            with contextlib.suppress(ConnectionError):
                assert await asyncio.to_thread(second.recv, 1) == b""


async def test_a_caller_that_hangs_up() -> None:
    """Before it said who it is."""
    async with listening_link() as (link, port), running_process() as process:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(link.first_words.split()[1] + b"\n\0")
        writer.close()
        with pytest.raises(ChildSilent, match="hung up"):
            await link.meet(process)


async def test_a_child_that_does_not_call() -> None:
    """It is not waited for without end."""
    async with listening_link(timeout_s=0.01) as (link, _), running_process() as process:
        with pytest.raises(ChildSilent, match=r"did not answer within 0\.01 s"):
            await link.meet(process)


async def test_a_link_that_is_not_met_leaves_nothing() -> None:
    """The caller is closed with it."""
    async with listening_link() as (link, _):
        with call_parent(link.first_words) as call:
            await link._caller
            link.close()
            assert await asyncio.to_thread(call.recv, 1) == b""


async def test_a_child_that_ends_before_it_calls() -> None:
    """The start fails with its exit code and its last words."""
    with pytest.raises(EngineStartFailed, match=r"(?s)^The engine's process ended \(exit code 1\): .*encodings"):
        await ChildProcess.spawn({"PYTHONHOME": "/nonexistent"}, open_link=LoopbackCall.open)


async def test_a_child_that_is_too_slow_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noting(*command: str, **settings: object) -> asyncio.subprocess.Process:
        started.append(await start(*command, **settings))  # type: ignore[arg-type]  # -- passed on as they come
        return started[-1]

    async def impatient() -> LoopbackCall:
        link = LoopbackCall(timeout_s=0.001)
        await link.listen()
        return link

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noting)
    with pytest.raises(EngineStartFailed, match=r"did not answer within 0\.001 s"):
        await ChildProcess.spawn(open_link=impatient)
    assert started[0].returncode is not None


@pytest.mark.parametrize("open_link", [InheritedSockets.open, LoopbackCall.open])
async def test_a_start_that_is_cancelled_leaves_nothing(open_link: OpenLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither process nor socket, which pytest would warn of."""
    met = asyncio.Event()
    processes: list[asyncio.subprocess.Process] = []

    async def never(_: object, process: asyncio.subprocess.Process) -> None:
        processes.append(process)
        met.set()
        await asyncio.Event().wait()

    for link in (InheritedSockets, LoopbackCall):
        monkeypatch.setattr(link, "meet", never)
    spawning = asyncio.create_task(ChildProcess.spawn(open_link=open_link))
    await met.wait()
    spawning.cancel()
    await asyncio.gather(spawning, return_exceptions=True)
    assert processes[0].returncode is not None
