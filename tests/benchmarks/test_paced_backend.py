import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpunode_benchmarks import paced_backend
from gpunode_benchmarks.overhead_engines import OverheadEngines, Pace, paced_model, resolve_with_paced
from gpunode_benchmarks.paced_backend import INTERVAL_VARIABLE, PREFILL_VARIABLE, PacedBackend
from gpunode_benchmarks.time_words import WORD_BYTES
from gpunode_engines.base import ChatMessage, Engine, Event, Finished, GenerateRequest, PrepareRequest, Tokens
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.ipc import BackendOptions, Load
from gpunode_protocol.tasks import Task

_LOAD = Load(
    task=Task.LLM,
    backend="paced",
    model="paced",
    root="/",
    files=(),
    options=BackendOptions(context_tokens=1024, slots=1, threads=1, use_gpu=False),
)


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


async def test_every_four_bytes_of_a_prompt_are_a_token(engine: Engine) -> None:
    """No vocabulary is needed; a conversation without messages is refused as elsewhere."""
    prompt = await engine.prepare(PrepareRequest(messages=(ChatMessage(role="user", content="abcde"),)))
    assert (prompt.token_ids, prompt.rendered) == ((97, 101), b"abcde")
    with pytest.raises(InvalidParameters):
        await engine.prepare(PrepareRequest(messages=()))


@pytest.mark.usefixtures("smollm2_path")
async def test_a_pace_of_its_own_reaches_the_child() -> None:
    """For models whose names do not tell it; such an engine says what it was set to, however busy the machine is."""
    pace = Pace(interval_ms=1, prefill_ms=0.25, slots=1)
    engine = await OverheadEngines(EngineSettings(), detect_machine(), pace)(resolve_with_paced("paced-home", slots=1))
    await engine.start()
    try:
        assert engine.info.slots == 1
        speed = await engine.measure_speed()
    finally:
        await engine.stop()
    assert (speed.prefill_tokens_per_s, speed.decode_tokens_per_s) == (4000, 1000)


def test_tokens_come_at_fixed_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one when the prompt has been read, each other one interval later; late ones delay nobody."""
    due_s: list[float] = []
    cancelled = threading.Event()
    monkeypatch.setattr(cancelled, "wait", lambda seconds: due_s.append(round(seconds, 3)))
    monkeypatch.setattr(paced_backend, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setenv(INTERVAL_VARIABLE, "10")
    monkeypatch.setenv(PREFILL_VARIABLE, "0.5")
    backend = PacedBackend()
    backend.load(_LOAD)
    request = GenerateRequest(job_key="job", prompt_ids=(1,) * 100, max_tokens=3)
    backend.generate(request, lambda _: None, cancelled)
    assert due_s == [0.05, 0.06, 0.07]
    monkeypatch.setenv(PREFILL_VARIABLE, "0")
    backend.load(_LOAD)
    backend.generate(request, lambda _: None, cancelled)
    assert due_s[3:] == [0.01, 0.02, 0.03]
