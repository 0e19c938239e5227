"""The contract of ``Engine``, run on the fake engine and on a supervised child."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from gpunode_engines.base import Engine, Finished, GenerateRequest, PrepareRequest, Tokens
from gpunode_engines.errors import (
    ContextOverflow,
    EngineNotReady,
    EngineOverloaded,
    EngineStopped,
    InvalidParameters,
    TimeLimit,
)

from tests.engines.fake_engine import FakeEngine
from tests.engines.scripted_engine import ask, collect, ids_of, prepare, scripted_engine, text_of


@pytest.fixture(params=["fake", "child"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """An engine with two slots and a context of 1,000 tokens that repeats its prompt."""
    started: Engine = FakeEngine(context_tokens=1000, slots=2) if request.param == "fake" else scripted_engine()
    await started.start()
    yield started
    await started.stop()


def endless(key: str = "job", **fields: object) -> GenerateRequest:
    """A job that ends by being cancelled only: both engines repeat it for long."""
    return ask("endless", job_key=key, max_tokens=900, **fields)


async def first_tokens(engine: Engine, request: GenerateRequest) -> Tokens:
    """Return a job's first tokens, then close it."""
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens):
                return event
    raise AssertionError("the job gave no tokens")


async def test_info_tells_what_is_served(engine: Engine) -> None:
    """Slots, context and a fingerprint of 32 bytes are known after the start."""
    assert (engine.info.slots, engine.info.context_tokens, len(engine.info.fingerprint)) == (2, 1000, 32)
    assert engine.healthy


async def test_prepare_gives_ids_and_rendered_bytes(engine: Engine) -> None:
    """The node learns the token count and the bytes to digest before it accepts a job."""
    prompt = await prepare(engine, "hello")
    assert len(prompt.token_ids) == len(prompt.rendered) > 0


async def test_prepare_refuses_an_empty_conversation(engine: Engine) -> None:
    """No messages is an error of the request."""
    if isinstance(engine, FakeEngine):
        with pytest.raises(InvalidParameters):
            await engine.prepare(PrepareRequest(messages=()))


async def test_a_job_ends_with_one_finished(engine: Engine) -> None:
    """Ids and text agree, and Finished comes last and counts them."""
    events = await collect(engine, ask("hello", max_tokens=5))
    assert bytes(ids_of(events)).decode() == text_of(events) == "hello"
    assert [event for event in events if isinstance(event, Finished)] == [events[-1]]
    assert isinstance(events[-1], Finished)
    assert events[-1].output_tokens == 5
    assert events[-1].prompt_tokens == 5


async def test_slots_are_limited(engine: Engine) -> None:
    """A job beyond the slots is refused, and taken once one is free."""
    async with aclosing(engine.generate(endless("a"))) as first, aclosing(engine.generate(endless("b"))) as second:
        await anext(first)
        await anext(second)
        assert engine.active_jobs == 2
        with pytest.raises(EngineOverloaded):
            await collect(engine, ask("hello", job_key="c"))
    assert engine.active_jobs == 0
    assert text_of(await collect(engine, ask("hello", job_key="c", max_tokens=5))) == "hello"


async def test_a_key_in_use_is_refused(engine: Engine) -> None:
    """Two jobs in flight cannot have the same key."""
    async with aclosing(engine.generate(endless())) as events:
        await anext(events)
        with pytest.raises(EngineOverloaded):
            await collect(engine, ask("hello"))


async def test_closing_the_iterator_frees_the_slot(engine: Engine) -> None:
    """Nothing runs on after the generator was closed."""
    await first_tokens(engine, endless())
    assert engine.active_jobs == 0


async def test_cancelling_the_task_frees_the_slot(engine: Engine) -> None:
    """The same holds when the task that reads is cancelled."""
    started = asyncio.Event()

    async def read() -> None:
        async with aclosing(engine.generate(endless())) as events:
            async for _ in events:
                started.set()

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.active_jobs == 0


async def test_cancel_ends_with_finished(engine: Engine) -> None:
    """After ``cancel`` the iterator ends with the reason cancelled."""
    events = []
    async with aclosing(engine.generate(endless())) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, Tokens):
                await engine.cancel("job")
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    assert events[-1].output_tokens == len(ids_of(events))


async def test_cancelling_an_unknown_job_does_nothing(engine: Engine) -> None:
    """A cancel may cross the end of its job."""
    await engine.cancel("nobody")


async def test_a_deadline_ends_the_job(engine: Engine) -> None:
    """A job beyond its deadline fails, and its slot is free."""
    if isinstance(engine, FakeEngine):
        engine.hang()
    with pytest.raises(TimeLimit):
        await collect(engine, endless(deadline_s=0.05))
    assert engine.active_jobs == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"max_tokens": 0}, InvalidParameters),
        ({"max_tokens": 996}, ContextOverflow),
        ({"temperature": -1.0}, InvalidParameters),
    ],
)
async def test_bad_requests_take_no_slot(engine: Engine, fields: dict[str, object], error: type[Exception]) -> None:
    """What cannot be served is refused before anything starts."""
    with pytest.raises(error):
        await collect(engine, ask("hello", **fields))
    assert engine.active_jobs == 0


async def test_stop_fails_the_jobs_in_flight(engine: Engine) -> None:
    """Stopping is the cause that running jobs report."""
    async with aclosing(engine.generate(endless())) as events:
        await anext(events)
        await engine.stop()
        with pytest.raises(EngineStopped):
            async for _ in events:
                pass
    assert not engine.healthy


async def test_stop_twice_is_fine(engine: Engine) -> None:
    """Whoever cleans up need not know who else did."""
    await engine.stop()
    await engine.stop()
    with pytest.raises(EngineNotReady):
        await collect(engine, ask("hello"))


async def test_speed_is_measured(engine: Engine) -> None:
    """Both figures are positive."""
    speed = await engine.measure_speed()
    assert min(speed.prefill_tokens_per_s, speed.decode_tokens_per_s) > 0
