import asyncio
from contextlib import aclosing

import pytest
from gpunode_engines.base import Finished, Segment, Tokens
from gpunode_engines.errors import EngineCrashed, EngineHung

from tests.engines.fake_engine import FakeEngine
from tests.engines.scripted_engine import ask, collect, text_of


async def started(**fields: object) -> FakeEngine:
    """Return a started engine; it holds nothing that must be released."""
    engine = FakeEngine(**fields)  # type: ignore[arg-type]  # -- tests pass fields of the constructor
    await engine.start()
    return engine


async def test_a_fixed_answer_stops_by_itself() -> None:
    """The answer comes whole and ends with the reason stop."""
    events = await collect(await started(answer="Grüße!"), ask("anything"))
    assert text_of(events) == "Grüße!"
    assert events[-1] == Finished(reason="stop", prompt_tokens=8, output_tokens=len("Grüße!".encode()))


async def test_resume_continues_the_answer() -> None:
    """Ids and text of a resumed job are the rest of the uninterrupted one's."""
    engine = await started(answer="Grüße an alle")
    whole = "Grüße an alle".encode()
    events = await collect(engine, ask("x", resume_ids=tuple(whole[:3]), text_offset=2))
    assert text_of(events) == "üße an alle"
    assert isinstance(events[-1], Finished)
    assert events[-1].output_tokens == len(whole) - 3


async def test_stop_texts_are_cut_off() -> None:
    """The answer ends before the stop text."""
    events = await collect(await started(answer="one two three"), ask("x", stop=("two",)))
    assert text_of(events) == "one "


async def test_a_stepped_engine_waits_for_each_step() -> None:
    """Tests decide when a token comes."""
    engine = await started(answer="abc", stepped=True)
    async with aclosing(engine.generate(ask("x"))) as events:
        engine.step(2)
        assert [event.text async for event, _ in _take(events, 2)] == ["a", "b"]
        pending = asyncio.ensure_future(anext(events))
        await asyncio.wait({pending}, timeout=0.01)
        assert not pending.done()
        engine.step()
        assert isinstance(await pending, Tokens)


async def _take(events: object, count: int) -> object:
    for index in range(count):
        yield await anext(events), index  # type: ignore[call-overload]  # -- an async iterator of the test above


async def test_a_crash_fails_jobs_and_counts() -> None:
    """Jobs in flight see the cause; the next job works."""
    engine = await started(answer="abc")
    engine.hang()
    job = asyncio.create_task(collect(engine, ask("x")))
    await asyncio.sleep(0)
    await engine.crash()
    with pytest.raises(EngineCrashed):
        await job
    assert engine.restarts == 1
    engine.go_on()
    assert text_of(await collect(engine, ask("x"))) == "abc"


async def test_a_crash_can_have_any_cause() -> None:
    """Tests choose the error."""
    engine = await started(stepped=True)
    job = asyncio.create_task(collect(engine, ask("x")))
    await asyncio.sleep(0)
    await engine.crash(EngineHung())
    with pytest.raises(EngineHung):
        await job


async def test_events_of_other_tasks_can_be_emitted() -> None:
    """The node's handling of segments can be tested without a speech model."""
    engine = await started(stepped=True)
    segment = Segment(start_ms=0, end_ms=10, text="hi")
    async with aclosing(engine.generate(ask("x"))) as events:
        pending = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        engine.emit("job", segment)
        assert await pending == segment


async def test_emitting_to_nobody_is_an_error() -> None:
    """A typo in a test shows."""
    with pytest.raises(KeyError):
        (await started()).emit("job", Segment(start_ms=0, end_ms=1, text=""))


async def test_only_stepped_engines_step() -> None:
    """A misuse shows."""
    with pytest.raises(ValueError, match="not stepped"):
        (await started()).step()


async def test_a_pace_is_measured_as_such() -> None:
    """The configured pace is the measured speed."""
    assert (await (await started(tokens_per_s=50.0)).measure_speed()).decode_tokens_per_s == 50
