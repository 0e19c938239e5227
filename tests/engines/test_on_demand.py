"""Engines that come and go, around real child processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest
from gpunode_engines.base import Finished, Tokens
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.errors import BackendFailed, EngineCrashed, EngineNotReady, EngineStartFailed, MemoryLimit
from gpunode_engines.limits import EngineLimits
from gpunode_engines.media import SpeechRequest
from gpunode_engines.memory_plan import Capacity
from gpunode_engines.on_demand import OnDemandEngine
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine
from gpunode_protocol.tasks import Task

from tests.engines.scripted_engine import CHILD_PATH, QUICK_LIMITS, SCRIPTED_PLAN, ask, collect, prepare, text_of

MIB = 1024 * 1024
TOO_SMALL = replace(QUICK_LIMITS, rss_bytes=160 * MIB, backoff_s=30.0)
"""The child fits in it, and what it gorges does not; a restart with the old plan would come too late for the test."""


def _create(limits: EngineLimits) -> Callable[[EnginePlan], SupervisedEngine]:
    return lambda plan: SupervisedEngine(plan, limits, extra_environment=CHILD_PATH)


@asynccontextmanager
async def _engines(
    *names: str,
    together: int = 1,
    limits: EngineLimits = QUICK_LIMITS,
    idle_s: float = 0.0,
    kills: Callable[[], int | None] = lambda: 0,
    slots: int = 4,
    context_tokens: int = 1000,
    task: Task = Task.LLM,
) -> AsyncIterator[tuple[EnginePool, list[OnDemandEngine]]]:
    """Engines of which so many fit in memory together; none is loaded yet."""
    pool = EnginePool(Capacity(main_bytes=together, card_bytes=0), idle_s)
    options = replace(SCRIPTED_PLAN.options, slots=slots, context_tokens=context_tokens)
    plans = [replace(SCRIPTED_PLAN, task=task, model=name, memory_bytes=1, options=options) for name in names]
    engines = [OnDemandEngine(plan, pool, _create(limits), kills) for plan in plans]
    try:
        yield pool, engines
    finally:
        await asyncio.gather(*(engine.stop() for engine in engines))


async def _until(engine: OnDemandEngine, condition: Callable[[], bool]) -> None:
    """Wait for a state that the engine tells of."""
    changed = asyncio.Event()
    engine.on_change = changed.set
    while not condition():
        await changed.wait()
        changed.clear()


async def test_models_that_do_not_fit_together_take_turns() -> None:
    """Each job finds its model; the one that was used last stays; figures survive the unloading."""
    async with _engines("a", "b") as (pool, (a, b)):
        with pytest.raises(EngineNotReady):
            _ = a.info
        await a.start()
        assert (a.state, b.state, a.wait_s()) == ("loaded", "unloaded", 0.0)
        assert text_of(await collect(b, ask("hello"))) == "hello"
        assert pool.loaded() == ("b",)
        assert not a.healthy
        assert a.info.model == "a"
        assert a.wait_s() == pytest.approx(a.load_s)
        assert a.load_s > 0
        await a.wait_healthy()
        assert (pool.loaded(), a.healthy, a.restarts) == (("a",), True, 0)


async def test_a_model_loads_while_others_serve() -> None:
    """Where both fit, neither waits for the other's jobs."""
    async with _engines("a", "b", together=2) as (pool, (a, b)):
        async with aclosing(a.generate(ask("endless"))) as events:
            await anext(events)
            await collect(b, ask("hello"))
            assert isinstance(await anext(events), Tokens)
        assert pool.loaded() == ("a", "b")


async def test_a_busy_model_finishes_its_jobs_and_takes_no_new_ones() -> None:
    """It cannot keep the other out for ever, and comes back when that is done."""
    async with _engines("a", "b") as (pool, (a, b)):
        async with aclosing(a.generate(ask("endless"))) as events:
            await anext(events)
            coming = asyncio.create_task(prepare(b, "hi"))
            await _until(a, lambda: a.state == "leaving")
            late = asyncio.create_task(collect(a, ask("late", job_key="late")))
            assert isinstance(await anext(events), Tokens)
            await a.cancel("job")
            last = [event async for event in events][-1]
        assert isinstance(last, Finished)
        assert bytes((await coming).token_ids) == b"hi"
        assert text_of(await late) == "late"
        assert pool.loaded() == ("a",)


async def test_an_idle_model_gives_its_memory_back() -> None:
    """After the time of the settings, and not while it works."""
    async with _engines("a", idle_s=0.01) as (pool, (a,)):
        async with aclosing(a.generate(ask("endless"))) as events:
            await anext(events)
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.05)
            assert a.state == "loaded"
        await _until(a, lambda: a.state == "unloaded")
        assert pool.loaded() == ()
        assert a.pid is None


async def test_speech_and_pictures_do_not_wait_for_the_model_to_be_accepted() -> None:
    """What needs no count is checked here; the load has begun meanwhile."""
    async with _engines("a") as (_, (a,)):
        await a.prepare(SpeechRequest(job_key="speech", audio=b"", max_audio_ms=1000))
        assert a.state == "loading"
        await _until(a, lambda: a.state == "loaded")


async def test_a_watchdog_breach_fails_the_job_and_lowers_the_plan() -> None:
    """The job learns the cause and what is done; the model comes back with half the jobs; other jobs are served."""
    async with _engines("a", limits=TOO_SMALL) as (_, (a,)):
        await a.start()
        with pytest.raises(MemoryLimit, match=r"160 MiB .* takes 2 jobs at once"):
            await collect(a, ask("gorge"))
        assert text_of(await collect(a, ask("hello"))) == "hello"
        assert (a.info.slots, a.info.context_tokens, a.restarts) == (2, 1000, 1)


async def test_a_full_card_lowers_the_plan_once_for_all_jobs() -> None:
    """The library's error fails its job; jobs that still run are finished before the model is loaded anew."""
    async with _engines("a") as (_, (a,)):
        async with aclosing(a.generate(ask("endless", job_key="other"))) as events:
            await anext(events)
            outcomes = await asyncio.gather(
                *(collect(a, ask("card full", job_key=f"{number}")) for number in range(2)), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes] == [MemoryLimit, MemoryLimit]
            assert isinstance(await anext(events), Tokens)
        await a.wait_healthy()
        assert a.info.slots == 2


async def test_a_full_card_lowers_a_model_of_pictures() -> None:
    """It has one job and no context: it saves memory step by step, and says when nothing is left."""
    async with _engines("a", slots=1, task=Task.IMAGE_GEN) as (_, (a,)):
        for step in (1, 2):
            with pytest.raises(MemoryLimit, match=f"did not suffice .*step {step} of 2"):
                await collect(a, ask("card full"))
            await a.wait_healthy()
            assert a.info.saving == step
        with pytest.raises(MemoryLimit, match="Nothing is left to lower"):
            await collect(a, ask("card full"))
        assert text_of(await collect(a, ask("hello"))) == "hello"


@pytest.mark.parametrize(("kernel", "error", "slots"), [(True, MemoryLimit, 2), (False, EngineCrashed, 4)])
async def test_a_kill_lowers_the_plan_where_the_kernel_did_it(kernel: bool, error: type[Exception], slots: int) -> None:
    """Who kills the process by hand only has it started again."""
    count = 0
    async with _engines("a", kills=lambda: count) as (_, (a,)):
        async with aclosing(a.generate(ask("endless"))) as events:
            await anext(events)
            count += kernel
            assert a.pid is not None
            os.kill(a.pid, signal.SIGKILL)
            with pytest.raises(error):
                await collect_rest(events)
        await a.wait_healthy()
        assert a.info.slots == slots


async def collect_rest(events: AsyncIterator[object]) -> None:
    """Read to the end."""
    async for _ in events:
        pass


async def test_a_model_that_takes_too_much_at_its_start_is_loaded_with_less() -> None:
    """The watchdog finds it while it loads, or when nothing runs yet: no job is there to lower the plan for it."""
    async with _engines("hungry", limits=TOO_SMALL, slots=8) as (_, (hungry,)):
        await hungry.start()
        speed = await hungry.measure_speed()
        assert speed.decode_tokens_per_s > 0
        assert hungry.info.slots in {1, 2}


async def test_where_nothing_can_be_lowered_a_start_fails_with_the_cause() -> None:
    """It does not go on for ever, and what is told is what the owner can do."""
    limits = replace(TOO_SMALL, rss_bytes=16 * MIB)
    async with _engines("hungry", limits=limits, slots=1, context_tokens=512) as (_, (hungry,)):
        with pytest.raises((MemoryLimit, EngineStartFailed), match=r"16 MiB are allowed.* Nothing is left to lower"):
            await _started_and_measured(hungry)


async def _started_and_measured(engine: OnDemandEngine) -> None:
    await engine.start()
    await engine.measure_speed()


async def test_memory_that_runs_out_between_jobs_lowers_the_plan_too() -> None:
    """The next job learns why the engine is not there, and the one after it is served."""
    count = 0
    limits = replace(QUICK_LIMITS, backoff_s=30.0)
    async with _engines("a", limits=limits, kills=lambda: count) as (_, (a,)):
        await a.start()
        count += 1
        assert a.pid is not None
        os.kill(a.pid, signal.SIGKILL)
        while a.healthy:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
        with pytest.raises(MemoryLimit, match=r"SIGKILL.* takes 2 jobs at once"):
            await prepare(a, "hello")
        assert text_of(await collect(a, ask("hello"))) == "hello"
        assert a.info.slots == 2


async def test_other_errors_lower_nothing() -> None:
    """They pass as they are."""
    async with _engines("a") as (_, (a,)):
        with pytest.raises(BackendFailed, match="RuntimeError"):
            await collect(a, ask("raise"))
        assert a.plan.options.slots == 4


async def test_a_load_that_fails_fails_the_jobs_that_wait_for_it() -> None:
    """No job waits in a queue for what does not come, and the next one tries again."""
    async with _engines("fails") as (_, (engine,)):
        for _ in range(2):
            with pytest.raises(EngineStartFailed, match="upside down"):
                await prepare(engine, "hi")
            assert engine.wait_s() == 0.0


async def test_a_closed_pool_lets_nothing_load_by_itself() -> None:
    """Reopening tells those who wait."""
    async with _engines("a") as (pool, (a,)):
        pool.close("paused")
        a.hasten()
        assert a.state == "unloaded"
        assert a.wait_s() > 0
        pool.reopen("paused")
        a.hasten()
        assert a.state == "loading"
        await _until(a, lambda: a.state == "loaded")


async def test_a_stop_ends_a_load() -> None:
    """Nothing is left of it."""
    async with _engines("sleeps") as (_, (engine,)):
        waiting = asyncio.create_task(engine.start())
        await asyncio.sleep(0)
        await engine.stop()
        assert engine.pid is None
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(EngineNotReady):
            await engine.wait_healthy()
