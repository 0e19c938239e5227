import asyncio
import os
import signal
from contextlib import aclosing
from dataclasses import replace

import psutil
import pytest
from gpunode_engines import child_process
from gpunode_engines.base import Tokens
from gpunode_engines.errors import (
    BackendFailed,
    ContextOverflow,
    EngineCrashed,
    EngineHung,
    EngineNotReady,
    EngineStartFailed,
    MemoryLimit,
    OutputLimit,
)

from tests.engines.scripted_engine import (
    QUICK_LIMITS,
    ask,
    collect,
    prepare,
    running_scripted_engine,
    scripted_engine,
    text_of,
)


async def test_a_crash_fails_the_job_and_the_engine_restarts() -> None:
    """The job in flight gets the cause, the next one works, the restart is counted."""
    async with running_scripted_engine() as engine:
        with pytest.raises(EngineCrashed, match="exit code 3"):
            await collect(engine, ask("crash"))
        await engine.wait_healthy()
        assert text_of(await collect(engine, ask("hello"))) == "hello"
        assert engine.restarts == 1


async def test_kill_9_names_the_signal() -> None:
    """All jobs in flight fail, each with an error of its own."""
    async with running_scripted_engine() as engine:
        jobs = [asyncio.create_task(collect(engine, ask("endless", job_key=key))) for key in "ab"]
        await asyncio.sleep(0)  # each task takes its slot before it first waits
        assert engine.active_jobs == 2
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        failures = await asyncio.gather(*jobs, return_exceptions=True)
        assert all(isinstance(failure, EngineCrashed) and "SIGKILL" in str(failure) for failure in failures)
        assert failures[0] is not failures[1]


async def test_a_crash_fails_calls_too() -> None:
    """A prompt that was being prepared fails with the cause."""
    async with running_scripted_engine() as engine:
        with pytest.raises(EngineCrashed):
            await prepare(engine, "crash")


async def test_a_stopped_child_counts_as_hung() -> None:
    """A process that answers no pings is killed, and the job fails with that cause."""
    async with running_scripted_engine(replace(QUICK_LIMITS, silence_s=1.0)) as engine:
        async with aclosing(engine.generate(ask("endless"))) as events:
            await anext(events)
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)
            with pytest.raises(EngineHung):
                async for _ in events:
                    pass
        await engine.wait_healthy()
        assert engine.restarts == 1


async def test_a_job_without_progress_counts_as_hung() -> None:
    """A backend that goes silent in one job is restarted, though the process answers pings."""
    async with running_scripted_engine(replace(QUICK_LIMITS, stall_s=0.2)) as engine:
        with pytest.raises(EngineHung, match="no progress"):
            await collect(engine, ask("hang"))


async def test_who_stood_still_is_told_to_all_who_lost_by_it() -> None:
    """The others did nothing wrong, and may come again."""
    async with running_scripted_engine(replace(QUICK_LIMITS, stall_s=0.2, output_bytes=10**9)) as engine:
        endless = collect(engine, ask("endless", job_key="innocent", max_tokens=900))
        lost = await asyncio.gather(endless, collect(engine, ask("hang", job_key="culprit")), return_exceptions=True)
    assert [(type(error), getattr(error, "blamed", None)) for error in lost] == [(EngineHung, "culprit")] * 2


async def test_a_cancel_that_is_not_obeyed_counts_as_hung() -> None:
    """Closing a job returns within the limit, whatever the backend does."""
    async with running_scripted_engine(replace(QUICK_LIMITS, cancel_s=0.2)) as engine:
        assert engine.last_loss is None
        async with aclosing(engine.generate(ask("hang", job_key="culprit"))) as events:
            await anext(events)
        assert engine.last_loss is not None
        assert engine.last_loss.blamed == "culprit"
        await engine.wait_healthy()
        assert engine.last_loss.blamed == "culprit"
        assert engine.restarts == 1


async def test_too_much_memory_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog kills a child beyond its limit; a cgroup would not even let it start."""
    monkeypatch.setattr(child_process, "_group_of", lambda *_: None)
    async with running_scripted_engine(replace(QUICK_LIMITS, rss_bytes=1)) as engine:
        with pytest.raises(MemoryLimit):
            await collect(engine, ask("endless"))


async def test_too_much_output_ends_the_job_only() -> None:
    """The job fails; the engine goes on."""
    async with running_scripted_engine(replace(QUICK_LIMITS, output_bytes=150_000)) as engine:
        with pytest.raises(OutputLimit):
            await collect(engine, ask("flood"))
        assert text_of(await collect(engine, ask("ok"))) == "ok"
        assert engine.restarts == 0


async def test_errors_of_the_backend_keep_their_class() -> None:
    """An EngineError of the child is raised as the same class in the parent."""
    async with running_scripted_engine() as engine:
        with pytest.raises(ContextOverflow, match="too long"):
            await collect(engine, ask("overflow"))


async def test_unexpected_errors_say_nothing_of_the_prompt() -> None:
    """The text of a foreign exception may quote the prompt and stays in the child."""
    async with running_scripted_engine() as engine:
        with pytest.raises(BackendFailed) as failure:
            await collect(engine, ask("raise"))
        with pytest.raises(BackendFailed) as call_failure:
            await prepare(engine, "raise")
        assert "secret" not in f"{failure.value}{call_failure.value}"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fails", "these weights are upside down"),
        ("too large", r"cannot load too large \(MemoryError\)\. Memory ran out"),
        ("exits", "last words"),
        ("sleeps", "not loaded within"),
    ],
)
async def test_a_failed_start_tells_why_and_leaves_nothing(model: str, message: str) -> None:
    """The cause reaches the caller, and no child is left."""
    engine = scripted_engine(replace(QUICK_LIMITS, load_s=3.0), model=model)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(EngineStartFailed, match=message):
        await engine.start()
    assert {child.pid for child in psutil.Process().children()} <= before
    assert not engine.healthy


async def test_a_child_that_is_stopped_while_it_loads_is_given_up() -> None:
    """As soon as one that serves, long before the time for loading is over; none is left."""
    engine = scripted_engine(replace(QUICK_LIMITS, load_s=30.0, silence_s=0.2), model="stops")
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(EngineStartFailed, match=r"stopped for 0\.2 s while it loaded stops"):
        await engine.start()
    assert {child.pid for child in psutil.Process().children()} <= before


async def test_an_unknown_backend_is_named() -> None:
    """A typo in a catalogue shows at the start."""
    with pytest.raises(EngineStartFailed, match="no backend 'abacus'"):
        await scripted_engine(backend="abacus").start()


async def test_a_missing_library_names_the_extra() -> None:
    """The user learns what to install."""
    with pytest.raises(EngineStartFailed, match=r"pip install 'gpunode\[node\]'"):
        await scripted_engine(backend="no_such_library:Backend").start()


async def test_before_the_start_nothing_works() -> None:
    """An engine that was not started says so."""
    engine = scripted_engine()
    with pytest.raises(EngineNotReady):
        _ = engine.info
    with pytest.raises(EngineNotReady):
        await collect(engine, ask("hello"))
    with pytest.raises(EngineNotReady):
        await engine.wait_healthy()


async def test_a_stop_that_was_cancelled_can_be_repeated() -> None:
    """The second one returns when the child is gone, not before."""
    engine = scripted_engine()
    await engine.start()
    assert engine.pid is not None
    child = psutil.Process(engine.pid)
    first = asyncio.create_task(engine.stop())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    await engine.stop()
    assert not child.is_running()
    await engine.stop()


async def test_while_it_is_restarted_it_says_why() -> None:
    """Whoever comes then learns the cause, and that it will be back."""
    async with running_scripted_engine(replace(QUICK_LIMITS, backoff_s=30.0)) as engine:
        with pytest.raises(EngineCrashed, match="exit code 3"):
            await collect(engine, ask("crash"))
        with pytest.raises(EngineNotReady, match=r"being restarted.*exit code 3") as refused:
            await collect(engine, ask("hello"))
        assert isinstance(refused.value.__cause__, EngineCrashed)


async def test_stopping_removes_child_and_folder() -> None:
    """Neither process nor scratch folder outlives the engine."""
    async with running_scripted_engine() as engine:
        folder = (await prepare(engine, "folder")).rendered.decode()
        pid = engine.pid
    assert not os.path.exists(folder)  # noqa: PTH110 -- the child reported text
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_stopping_during_a_restart_works() -> None:
    """A stop may come while no child runs."""
    engine = scripted_engine(replace(QUICK_LIMITS, backoff_s=60.0))
    await engine.start()
    with pytest.raises(EngineCrashed):
        await collect(engine, ask("crash"))
    await engine.stop()
    assert not engine.healthy


async def test_the_fingerprint_depends_on_the_weights() -> None:
    """Other weights, other fingerprint."""
    async with running_scripted_engine() as one, running_scripted_engine(weights_digest=bytes([1]) * 32) as other:
        assert one.info.fingerprint != other.info.fingerprint


async def test_tokens_arrive_one_by_one() -> None:
    """Streaming is not buffered: the first token comes while the job runs on."""
    async with running_scripted_engine() as engine, aclosing(engine.generate(ask("endless"))) as events:
        async for event in events:
            if isinstance(event, Tokens):
                assert engine.active_jobs == 1
                break
