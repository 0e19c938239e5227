import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gpunode_benchmarks.overhead_engines import OverheadEngines, paced_model, resolve_with_paced
from gpunode_benchmarks.time_words import WORD_BYTES
from gpunode_engines.base import ChatMessage, Engine, Event, Finished, GenerateRequest, PrepareRequest, Tokens
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import InvalidParameters


@pytest.fixture
async def engine(smollm2_path: Path) -> AsyncIterator[Engine]:  # noqa: ARG001 -- the plan's files are the model's
    """A paced engine in a real child, 5 ms a token."""
    made = await OverheadEngines(EngineSettings(), detect_machine())(resolve_with_paced(paced_model(5)))
    await made.start()
    yield made
    await made.stop()


def _request(tokens: int) -> GenerateRequest:
    return GenerateRequest(job_key="job", prompt_ids=(1, 2), max_tokens=tokens)


async def test_it_puts_out_what_was_asked_for(engine: Engine) -> None:
    """One token an event, each of six bytes, then the end."""
    events: list[Event] = [event async for event in engine.generate(_request(7))]
    tokens = [event for event in events if isinstance(event, Tokens)]
    assert [len(event.ids) for event in tokens] == [1] * 7
    assert {len(event.text.encode()) for event in tokens} == {WORD_BYTES}
    assert events[-1] == Finished(reason="length", prompt_tokens=2, output_tokens=7)


async def test_it_can_be_cancelled(engine: Engine) -> None:
    """Within one token, and its slot is free then."""
    async with contextlib.aclosing(engine.generate(_request(100_000 // 16))) as events:
        assert isinstance(await anext(events), Tokens)
    assert engine.active_jobs == 0


async def test_every_byte_of_a_prompt_is_a_token(engine: Engine) -> None:
    """No vocabulary is needed; a conversation without messages is refused as elsewhere."""
    prompt = await engine.prepare(PrepareRequest(messages=(ChatMessage(role="user", content="ab"),)))
    assert (prompt.token_ids, prompt.rendered) == ((97, 98), b"ab")
    with pytest.raises(InvalidParameters):
        await engine.prepare(PrepareRequest(messages=()))
