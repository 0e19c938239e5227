"""What a session makes of a child that breaks the rules; what it makes of one that keeps them: test_supervisor."""

import asyncio
import socket
from contextlib import aclosing

import pytest
from gpunode_engines import job_deadline
from gpunode_engines.base import Progress
from gpunode_engines.channel import ChildChannel, ParentChannel
from gpunode_engines.child_process import ChildProcess
from gpunode_engines.errors import (
    BackendFailed,
    EngineCrashed,
    EngineStartFailed,
    InvalidParameters,
    MemoryLimit,
    TimeLimit,
)
from gpunode_engines.ipc import (
    MAX_PARENT_FRAME_BYTES,
    Generate,
    JobEvent,
    JobFailure,
    Load,
    Loaded,
    LoadFailed,
    Ping,
    Pong,
)
from gpunode_engines.limits import EngineLimits
from gpunode_engines.media import SpeechRequest
from gpunode_engines.out_of_memory import is_out_of_memory
from gpunode_engines.scratch_use import ScratchUse
from gpunode_engines.session import Session, open_session

from tests.engines.scripted_engine import (
    CHILD_PATH,
    QUICK_LIMITS,
    SCRIPTED_PLAN,
    ask,
    collect,
    prepare,
    running_scripted_engine,
)

ORDER = Load(
    task=SCRIPTED_PLAN.task,
    backend=SCRIPTED_PLAN.backend,
    model="scripted",
    root="/",
    files=(),
    options=SCRIPTED_PLAN.options,
)
LOADED = Loaded(backend_version="1", context_tokens=10, slots=1, device="cpu")


class PuppetChild:
    """Stands in for a child process; the test holds its end of the channel."""

    def __init__(self, channel: ParentChannel) -> None:
        self.channel = channel
        self.pid = 0
        self.last_words = ""
        self.passed_memory_limit = False
        self.is_stopped = False
        self.ended = asyncio.Event()

    def rss_bytes(self) -> int:
        """Use no memory."""
        return 0

    def scratch_use(self, _most_files: int) -> ScratchUse:
        """Keep no files."""
        return ScratchUse(size_bytes=0, files=0, hidden=False)

    async def wait(self) -> str:
        """Be dead."""
        return "exit code 1"

    async def end(self) -> None:
        """Close."""
        self.ended.set()
        await self.channel.close()


async def puppet() -> tuple[PuppetChild, ChildChannel, socket.socket]:
    """Return a child whose side the test plays."""
    ours, theirs = socket.socketpair()
    return PuppetChild(await ParentChannel.open(ours)), ChildChannel(theirs), theirs


async def _spawned(child: PuppetChild) -> ChildProcess:
    return child  # type: ignore[return-value]  # -- a stand-in with the same methods


async def test_a_child_that_answers_something_else_is_refused() -> None:
    """The first answer is Loaded or LoadFailed; the child is ended."""
    child, side, sock = await puppet()
    with sock:
        side.send(Pong())
        with pytest.raises(EngineStartFailed, match="answered pong"):
            await open_session(_spawned(child), ORDER, QUICK_LIMITS)
    assert child.ended.is_set()


async def test_a_child_that_loads_twice_is_lost() -> None:
    """A message at the wrong moment ends the session."""
    child, side, sock = await puppet()
    with sock:
        side.send(LOADED)
        session = await open_session(_spawned(child), ORDER, QUICK_LIMITS)
        side.send(LOADED)
        assert isinstance(await session.lost(), EngineCrashed)
        assert not session.alive
        await session.end()


async def test_a_child_that_sends_garbage_is_lost() -> None:
    """Jobs in flight fail with that cause."""
    child, side, sock = await puppet()
    with sock:
        side.send(LOADED)
        session = await open_session(_spawned(child), ORDER, QUICK_LIMITS)
        job = asyncio.create_task(_first_event(session))
        await asyncio.sleep(0)
        sock.sendall(b"\x00\x00\x00\x01\xc1")
        with pytest.raises(EngineCrashed, match="unreadable"):
            await job
        with pytest.raises(EngineCrashed):
            await _first_event(session)
        await session.end()


async def test_a_child_that_the_kernel_ended_at_its_limit_ran_out_of_memory() -> None:
    """While it loads as well: what is told, and planned from then on, is the cause, and not the signal."""
    child, side, sock = await puppet()
    child.passed_memory_limit = True
    with sock:
        side.send(LOADED)
        session = await open_session(_spawned(child), ORDER, QUICK_LIMITS)
    assert isinstance(await session.lost(), MemoryLimit)
    await session.end()
    child, side, sock = await puppet()
    child.passed_memory_limit = True
    sock.close()
    with pytest.raises(EngineStartFailed, match="out of memory: 32768 MiB are allowed") as start:
        await open_session(_spawned(child), ORDER, QUICK_LIMITS)
    assert is_out_of_memory(start.value, 0, 0)


async def test_a_childs_words_are_cut() -> None:
    """They go into logs and to clients."""
    child, side, sock = await puppet()
    with sock:
        side.send(LoadFailed(message="x" * 10_000))
        with pytest.raises(EngineStartFailed) as start:
            await open_session(_spawned(child), ORDER, QUICK_LIMITS)
    assert len(str(start.value)) == 2_000
    child, side, sock = await puppet()
    with sock:
        session = Session(await _spawned(child), LOADED, QUICK_LIMITS)
        job = asyncio.create_task(_first_event(session))
        await asyncio.sleep(0)
        side.send(JobFailure(job_key="job", error="BackendFailed", message="x" * 10_000))
        side.send(Pong())
        with pytest.raises(BackendFailed, match=r"^x{2000}$"):
            await job
        await session.end()


async def _first_event(session: Session) -> object:
    return await anext(session.run(ask("hi", max_tokens=1)))


async def test_a_request_that_is_too_large_takes_no_slot() -> None:
    """The cap of a message is an error of the request, and the engine goes on."""
    async with running_scripted_engine() as engine:
        with pytest.raises(InvalidParameters, match="too large"):
            await prepare(engine, "x" * MAX_PARENT_FRAME_BYTES)
        assert engine.healthy


@pytest.mark.parametrize("unwritable", [{"stop": ("\ud83d",)}, {"prompt_ids": (2**70,)}])
async def test_a_request_that_cannot_be_written_takes_no_slot(unwritable: dict[str, object]) -> None:
    """The child never hears of it, so nobody waits for its word."""
    async with running_scripted_engine() as engine:
        with pytest.raises(InvalidParameters, match="half a character"):
            await collect(engine, ask("hi", **unwritable))
        assert (engine.active_jobs, engine.healthy) == (0, True)
        with pytest.raises(InvalidParameters, match="half a character"):
            await prepare(engine, "\ud83d")


async def test_a_process_that_cannot_start_is_reported() -> None:
    """The operating system's reason is kept."""

    async def spawn() -> ChildProcess:
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(EngineStartFailed, match="Cannot allocate memory"):
        await open_session(spawn(), ORDER, QUICK_LIMITS)


async def test_a_decoded_file_bounds_the_time_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the client was ready to pay for."""
    monkeypatch.setattr(job_deadline, "SPEECH_BASE_S", 0.01)
    child, side, theirs = await puppet()
    session = Session(await _spawned(child), LOADED, EngineLimits(cancel_s=0.1))
    request = SpeechRequest(job_key="job", audio=b"RIFF", max_audio_ms=3_600_000, deadline_s=3_720.0)
    async with aclosing(session.run(request)) as events:
        first = asyncio.ensure_future(anext(events))
        while not isinstance(await asyncio.to_thread(side.receive), Generate):
            pass
        side.send(JobEvent(job_key="job", event=Progress(step=0, total=1)))
        assert await first == Progress(step=0, total=1)
        with pytest.raises(TimeLimit, match=r"longer than 0\.011 s"):
            await anext(events)
        session.fail(EngineCrashed("over"))
    await session.end()
    theirs.close()


async def test_a_node_that_was_stopped_does_not_blame_the_child() -> None:
    """A minute in which nobody listened is no minute in which the child was silent."""
    child, side, theirs = await puppet()
    session = Session(await _spawned(child), LOADED, QUICK_LIMITS)
    clock, stopped_s = asyncio.get_running_loop().time, 0.0
    session._clock = lambda: clock() + stopped_s
    assert isinstance(await asyncio.to_thread(side.receive), Ping)
    stopped_s = 60.0
    next_ping, lost = asyncio.ensure_future(asyncio.to_thread(side.receive)), asyncio.ensure_future(session.lost())
    await asyncio.wait({next_ping, lost}, return_when=asyncio.FIRST_COMPLETED)
    assert session.alive
    lost.cancel()
    await next_ping
    await session.end()
    theirs.close()


async def test_sessions_work_with_real_children() -> None:
    """The stand-in above behaves as the real thing does."""
    session = await open_session(ChildProcess.spawn(CHILD_PATH), ORDER, QUICK_LIMITS)
    assert session.alive
    assert session.loaded.backend_version == "1.2.3"
    await session.end()
