"""The real sentence model (all-MiniLM-L6-v2) in a real child process."""

import array
import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode_engines.base import Blob, Event, Finished
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import ContextOverflow, EngineCrashed
from gpunode_engines.media import EmbeddingRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine
from gpunode_protocol.tasks import Task

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIMENSIONS = 384


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedEngine]:
    """The model, loaded once for all tests of this file."""
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(models_dir=folder, cache_dir=folder, engine_threads=1)
    started = create_engine(plan_engine(resolve_model("minilm"), settings, detect_machine()), settings)
    await started.start()
    yield started
    await started.stop()


async def _run(engine: SupervisedEngine, *inputs: str, normalize: bool = True) -> list[Event]:
    request = EmbeddingRequest(job_key="job", inputs=inputs, normalize=normalize)
    return [event async for event in engine.generate(request)]


def _vectors(events: Sequence[Event], count: int) -> list[list[float]]:
    (blob,) = [event for event in events if isinstance(event, Blob)]
    assert blob.total_bytes == len(blob.data) == 4 * DIMENSIONS * count
    values = array.array("f", blob.data)
    return [list(values[start : start + DIMENSIONS]) for start in range(0, len(values), DIMENSIONS)]


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


async def test_likeness_of_meaning(engine: SupervisedEngine) -> None:
    """Texts of like meaning lie closer together than others, and the vectors are one long."""
    cat, kitten, market = _vectors(await _run(engine, "a cat", "a kitten", "the stock market"), 3)
    assert _cosine(cat, kitten) > 0.6
    assert _cosine(cat, market) < 0.3
    assert math.hypot(*cat) == pytest.approx(1, abs=1e-5)


async def test_each_vector_stands_where_its_text_stood(engine: SupervisedEngine) -> None:
    """Whatever was batched with whatever: long and short inputs give what they give alone."""
    inputs = ("word " * 150, "a", "some more words here", "word " * 40)
    together = _vectors(await _run(engine, *inputs), len(inputs))
    for text, vector in zip(inputs, together, strict=True):
        (alone,) = _vectors(await _run(engine, text), 1)
        assert _cosine(alone, vector) == pytest.approx(1, abs=1e-4)


async def test_tokens_are_counted_alike_before_and_after(engine: SupervisedEngine) -> None:
    """What is quoted is what is billed; raw vectors keep their length."""
    request = EmbeddingRequest(job_key="job", inputs=("a cat", "a kitten"))
    prompt = await engine.prepare(request)
    events = await _run(engine, "a cat", "a kitten", normalize=False)
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.reason, end.prompt_tokens) == ("stop", len(prompt.token_ids))
    assert math.hypot(*_vectors(events, 2)[0]) != pytest.approx(1, abs=1e-2)


async def test_a_text_longer_than_the_model_reads(engine: SupervisedEngine) -> None:
    """It is refused with its number, never cut."""
    request = EmbeddingRequest(job_key="job", inputs=("fine", "word " * 300))
    with pytest.raises(ContextOverflow, match=r"Input 1 has 302 tokens; this model reads 256"):
        await engine.prepare(request)
    with pytest.raises(ContextOverflow, match="Input 1 has 302 tokens"):
        await _run(engine, *request.inputs)
    assert engine.active_jobs == 0


async def test_speed_is_measured_by_input(engine: SupervisedEngine) -> None:
    """Embeddings have no output whose speed could be told."""
    speed = await engine.measure_speed()
    assert speed.prefill_tokens_per_s > 0
    assert (speed.prompt_tokens > 100, speed.output_tokens) == (True, 0)
    assert engine.info.task is Task.EMBEDDING


async def test_a_child_killed_in_the_middle_of_a_job(engine: SupervisedEngine) -> None:
    """The job fails with the cause, and the next one works."""
    pid = engine.pid
    assert pid is not None
    job = asyncio.create_task(_run(engine, *["word " * 200] * 200))
    await asyncio.sleep(0)  # the job takes its slot before it first waits
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        await job
    await engine.wait_healthy()
    assert engine.restarts == 1
    assert len(_vectors(await _run(engine, "a cat"), 1)) == 1


async def test_the_model_is_small_enough_to_stay(tmp_path: Path) -> None:
    """Its estimate follows the file."""
    settings = EngineSettings(models_dir=tmp_path, cache_dir=tmp_path)
    plan = plan_engine(resolve_model("minilm"), settings, detect_machine())
    assert plan.quantisation == "F32"
    assert plan.options.context_tokens == 256
    weights = Path(plan.root) / "model.safetensors"
    assert plan.memory_bytes == weights.stat().st_size


@pytest.mark.full
async def test_less_at_once_gives_the_same_vectors(engine: SupervisedEngine, tmp_path: Path) -> None:
    """As a model is loaded whose memory ran out: smaller batches."""
    inputs = [f"number {number} " * (1 + number % 60) for number in range(70)]
    settings = EngineSettings(models_dir=tmp_path, cache_dir=tmp_path, engine_threads=1)
    plan = plan_engine(resolve_model("minilm"), settings, detect_machine())
    sparing = create_engine(replace(plan, options=replace(plan.options, saving=3)), settings)
    assert (await sparing.start()).saving == 3
    got, wanted = [_vectors(await _run(each, *inputs), len(inputs)) for each in (sparing, engine)]
    await sparing.stop()
    assert all(_cosine(one, other) > 0.9999 for one, other in zip(got, wanted, strict=True))
