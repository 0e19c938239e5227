"""Every backend but llama.cpp (test_hostile_engines) in its real child with its real model: quiet, and hostile."""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gpunode_engines.base import Blob, Event, GenerateRequest, Segment, Tokens, WorkRequest
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import BackendFailed, EngineCrashed, EngineHung, InvalidParameters, MemoryLimit, TimeLimit
from gpunode_engines.limits import EngineLimits
from gpunode_engines.media import EmbeddingRequest, ImageRequest, SpeechRequest
from gpunode_engines.plan import plan_engine
from gpunode_engines.supervisor import ENVIRONMENTS, SupervisedEngine

from tests.engines.hostile_backend import FORKS, PATH, TARGET_VARIABLE
from tests.engines.scripted_engine import CHILD_PATH, ask, prepare
from tests.engines.speech_samples import SENTENCES, spoken

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = EngineLimits(heartbeat_s=0.05, backoff_s=0.01, cancel_s=0.1, silence_s=60, rss_bytes=1_500 * 1024**2)
"""The memory is half as much again as what the largest of these models takes while it works."""
PNG = b"\x89PNG"
DIMENSIONS = 384
MODELS = {"diffusers": "digits", "whisper": "whisper-tiny.en", "embedding": "minilm"}


@pytest.fixture(scope="module", params=["whisper", "diffusers", "embedding", "transformers"])
def kind(request: pytest.FixtureRequest) -> str:
    """A function of ``hostile_backend``; pytest runs all tests with one before it comes to the next."""
    return str(request.param)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the node's key is: readable for its owner, who is the child's user too."""
    path = tmp_path_factory.mktemp("node") / "identity.key"
    path.write_text("secret seed")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One sentence."""
    return spoken(SENTENCES[0], tmp_path_factory.mktemp("speech") / "fox.wav").read_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    kind: str, key_file: Path, checkpoint_models_dir: Path, request: pytest.FixtureRequest
) -> AsyncIterator[SupervisedEngine]:
    """A backend, loaded once, and again after each test that ends its child."""
    entry = request.getfixturevalue("checkpoint_entry") if kind == "transformers" else resolve_model(MODELS[kind])
    folder = checkpoint_models_dir
    settings = EngineSettings(models_dir=folder, cache_dir=folder, engine_threads=1, engine_gpu=False, sandbox="strict")
    plan = plan_engine(entry, settings, detect_machine())
    environment = {**ENVIRONMENTS.get(plan.backend, {}), **CHILD_PATH, TARGET_VARIABLE: str(key_file)}
    started = SupervisedEngine(replace(plan, backend=f"{PATH}{kind}"), LIMITS, extra_environment=environment)
    await started.start()
    yield started
    await started.stop()


def job(kind: str, act: str, **fields: Any) -> WorkRequest:
    """Return a job that does ``act``."""
    match kind:
        case "transformers":
            return ask("x", stop=(act,), **fields)
        case "diffusers":
            size = {"width": 32, "height": 32, "steps": 4, "guidance": 3.0, "seed": 1}
            return ImageRequest(job_key="job", prompt=act, **size, **fields)
        case "whisper":
            return SpeechRequest(job_key="job", audio=b"", max_audio_ms=60_000, initial_prompt=act, **fields)
        case _:
            return EmbeddingRequest(job_key="job", inputs=(act,), **fields)


async def run(engine: SupervisedEngine, request: WorkRequest) -> list[Event]:
    """Run a job to its end."""
    async with aclosing(engine.generate(request)) as events:
        return [event async for event in events]


async def check_that_it_works(engine: SupervisedEngine, kind: str, speech: bytes) -> None:
    """Have the real model do what it is for."""
    request = job(kind, "a handwritten seven")
    if isinstance(request, GenerateRequest):
        prompt = await prepare(engine, "What is the capital of France?")
        request = replace(request, prompt_ids=prompt.token_ids, max_tokens=8, temperature=0.0, stop=())
    elif isinstance(request, SpeechRequest):
        request = replace(request, audio=speech, initial_prompt="")
    events = await run(engine, request)
    text = "".join(event.text for event in events if isinstance(event, Tokens | Segment))
    data = b"".join(event.data for event in events if isinstance(event, Blob))
    assert {
        "transformers": "Paris" in text,
        "diffusers": data.startswith(PNG),
        "whisper": "brown fox" in text,
        "embedding": len(data) == 4 * DIMENSIONS,
    }[kind]


async def test_an_ordinary_job_tries_nothing_that_is_refused(
    engine: SupervisedEngine, kind: str, speech: bytes
) -> None:
    """Nor do its libraries prepare reports to their makers, which are kept in files until they can be sent."""
    await check_that_it_works(engine, kind, speech)
    assert engine.info.confinement.level == 3
    assert engine.denials == 0
    scratch = Path(f"/proc/{engine.pid}/cwd").resolve()
    assert scratch.name.startswith("gpunode-scratch-")
    assert [path.name for path in scratch.rglob("*") if path.is_file()] == []


NOT_NUMBERS = {
    "transformers": ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "deadline_s"),
    "diffusers": ("guidance", "strength", "deadline_s"),
    "whisper": ("temperature", "deadline_s"),
    "embedding": ("deadline_s",),
}


async def test_what_is_not_a_number_is_refused_by_name(engine: SupervisedEngine, kind: str) -> None:
    """In each parameter that could be one."""
    for name in NOT_NUMBERS[kind]:
        with pytest.raises(InvalidParameters, match=f"{name} is nan|deadline of nan"):
            await run(engine, replace(job(kind, "x"), **{name: math.nan}))
    assert engine.active_jobs == 0


@pytest.mark.parametrize(
    ("act", "refused"),
    [
        ("open a socket", "socket"),
        ("connect", "connect"),
        ("execute", "execve"),
        ("signal the parent", "kill"),
        ("read the key", "a file (EACCES)"),
        ("write outside", "a file (EACCES)"),
        ("change a mode", "chmod"),
        ("fill memory files", "memfd_create"),
        ("share memory", "mmap"),
    ],
)
async def test_hostile_acts_are_refused_and_logged(
    engine: SupervisedEngine, kind: str, key_file: Path, caplog: pytest.LogCaptureFixture, act: str, refused: str
) -> None:
    """The job fails, the act is counted and, the first time, named in the log."""
    before = engine.denials
    with caplog.at_level(logging.WARNING, "gpunode_engines.denials"), pytest.raises(BackendFailed, match="Permission"):
        await run(engine, job(kind, act))
    assert engine.denials == before + 1
    if act != "write outside":  # the second refused file
        assert [getattr(record, "act", None) for record in caplog.records] == [refused]
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]
    assert key_file.stat().st_mode & 0o777 == 0o600


async def test_forks_without_end(engine: SupervisedEngine, kind: str, speech: bytes) -> None:
    """All are refused, and after that and all the acts before it the model still works, in the same process."""
    before = engine.denials
    with pytest.raises(BackendFailed):
        await run(engine, job(kind, "fork without end"))
    assert 0 < engine.denials - before < FORKS
    await check_that_it_works(engine, kind, speech)
    assert engine.restarts == 0


async def test_a_memory_hog_is_ended(engine: SupervisedEngine, kind: str) -> None:
    """The job fails with the cause."""
    with pytest.raises(MemoryLimit, match=r"1500 MiB .*are allowed"):
        await run(engine, job(kind, "allocate without end"))


async def test_the_job_after_a_memory_hog_works(engine: SupervisedEngine, kind: str, speech: bytes) -> None:
    """In another child."""
    await engine.wait_healthy()
    await check_that_it_works(engine, kind, speech)
    assert engine.restarts == 1


async def test_a_hang_ends_at_the_deadline(engine: SupervisedEngine, kind: str) -> None:
    """Whether the child confirms the cancel or not."""
    with pytest.raises((TimeLimit, EngineHung)):
        await run(engine, job(kind, "hang", deadline_s=0.1))


@pytest.mark.full
@pytest.mark.parametrize(("act", "error"), [("hang", (TimeLimit, EngineHung)), ("be killed", EngineCrashed)])
async def test_the_next_job_works(
    engine: SupervisedEngine, kind: str, speech: bytes, act: str, error: type[Exception]
) -> None:
    """In another child; of kills, the backends' own tests have the short form."""
    await engine.wait_healthy()
    before = engine.restarts
    with pytest.raises(error):
        await run(engine, job(kind, act, deadline_s=1))
    await engine.wait_healthy()
    await check_that_it_works(engine, kind, speech)
    assert engine.restarts == before + 1
