"""A hostile engine, in its real child with the real model loaded: what it tries is refused and logged."""

import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode_engines.base import Event, Finished, GenerateRequest, Tokens
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.confinement import SandboxPolicy
from gpunode_engines.errors import BackendFailed, EngineCrashed, EngineHung, MemoryLimit, ScratchLimit, TimeLimit
from gpunode_engines.limits import EngineLimits
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.backends.test_llamacpp_server import PLAN
from tests.engines.hostile_backend import FORKS, PATH, TARGET_VARIABLE
from tests.engines.scripted_engine import CHILD_PATH, ask, collect, prepare, running_scripted_engine, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024**2
LIMITS = EngineLimits(heartbeat_s=0.05, backoff_s=0.01)


@asynccontextmanager
async def hostile_engine(
    weights: Path, target: Path, limits: EngineLimits = LIMITS, *, use_gpu: bool = False
) -> AsyncIterator[SupervisedEngine]:
    """Run the backend that does what jobs tell it to; ``target``: what it must not touch."""
    template = resolve_model("smollm2-135m").chat_template
    plan = replace(
        PLAN,
        backend=f"{PATH}llamacpp",
        root=str(weights.parent),
        files=(str(weights),),
        options=replace(PLAN.options, chat_template=template, use_gpu=use_gpu),
        sandbox=SandboxPolicy(mode="strict"),
    )
    engine = SupervisedEngine(plan, limits, extra_environment=CHILD_PATH | {TARGET_VARIABLE: str(target)})
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the node's key is: readable for its owner, who is the child's user too."""
    path = tmp_path_factory.mktemp("node") / "identity.key"
    path.write_text("secret seed")
    path.chmod(0o600)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(smollm2_path: Path, key_file: Path) -> AsyncIterator[SupervisedEngine]:
    """One engine for all that leaves it alive."""
    async with hostile_engine(smollm2_path, key_file) as started:
        yield started


class _ActsHandler(logging.Handler):
    """Keeps the acts of log records that name one."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.acts += [act] if (act := getattr(record, "act", None)) else []


@pytest.fixture(scope="module")
def logged_acts() -> Iterator[list[str]]:
    """The refused acts that the log of this file's tests names; it names the first of a kind, not each."""
    handler = _ActsHandler()
    logger = logging.getLogger("gpunode_engines.denials")
    logger.addHandler(handler)
    yield handler.acts
    logger.removeHandler(handler)


def job(act: str, **fields: object) -> GenerateRequest:
    """Return a job that does ``act``."""
    return ask("x", max_tokens=200, stop=(act,), **fields)


async def answer(engine: SupervisedEngine) -> str:
    """Return what the real model says."""
    prompt = await prepare(engine, "What is the capital of France?")
    request = GenerateRequest(job_key="real", prompt_ids=prompt.token_ids, max_tokens=16, temperature=0.0)
    return text_of(await collect(engine, request))


async def test_the_real_model_works_fully_confined(engine: SupervisedEngine) -> None:
    """Rendering, tokenising and generating need nothing that is refused."""
    assert (engine.info.confinement.level, engine.info.confinement.lacks()) == (3, ())
    assert await answer(engine) == "The capital of France is Paris."
    assert engine.denials == 0
    assert [path.name for path in Path(f"/proc/{engine.pid}/cwd").resolve().rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("act", "refused"),
    [
        ("open a socket", "socket"),
        ("connect", "connect"),
        ("execute", "execve"),
        ("signal the parent", "kill"),
        ("read the key", "a file (EACCES)"),
        ("write outside", "a file (EACCES)"),
        ("fill memory files", "memfd_create"),
        ("share memory", "mmap"),
        ("share memory by device", "a file (EACCES)"),
        ("share memory by name", "a file (EACCES)"),
    ],
)
async def test_hostile_acts_are_refused_and_logged(
    engine: SupervisedEngine, key_file: Path, logged_acts: list[str], act: str, refused: str
) -> None:
    """The job fails, the log names the act, and the engine serves the next job."""
    before = engine.denials
    with pytest.raises(BackendFailed, match="PermissionError"):
        await collect(engine, job(act))
    assert engine.denials == before + 1
    assert refused in logged_acts
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]
    assert await answer(engine)


async def test_modes_of_strangers_files_stay(engine: SupervisedEngine, key_file: Path) -> None:
    """Landlock does not cover them; the system call is refused."""
    with pytest.raises(BackendFailed, match="PermissionError"):
        await collect(engine, job("change a mode"))
    assert key_file.stat().st_mode & 0o777 == 0o600


async def test_the_scratch_folder_may_be_written(engine: SupervisedEngine) -> None:
    """Libraries need some place."""
    events = await collect(engine, job("write inside"))
    assert isinstance(events[-1], Finished)


async def test_forks_without_end_are_refused_without_end(smollm2_path: Path, key_file: Path) -> None:
    """After the first thousand the node does not even hear of them any more, and the model still works."""
    async with hostile_engine(smollm2_path, key_file) as engine:
        with pytest.raises(BackendFailed):
            await collect(engine, job("fork without end"))
        assert FORKS > engine.denials >= 1_000
        assert await answer(engine)


async def test_a_memory_hog_is_ended_and_others_go_on(smollm2_path: Path, key_file: Path) -> None:
    """The job fails with the cause, the next one works, and another engine noticed nothing."""
    limits = replace(LIMITS, rss_bytes=700 * MIB)
    async with hostile_engine(smollm2_path, key_file, limits) as engine, running_scripted_engine() as other:
        with pytest.raises(MemoryLimit, match=r"700 MiB .*are allowed"):
            await collect(engine, job("allocate without end"))
        await engine.wait_healthy()
        assert await answer(engine)
        assert text_of(await collect(other, ask("hello"))) == "hello"
        assert (engine.restarts, other.restarts) == (1, 0)


async def test_a_full_scratch_folder_is_emptied(smollm2_path: Path, key_file: Path) -> None:
    """The job fails with the cause; folders too deep for a path are found and removed as well; the next job works."""
    limits = replace(LIMITS, scratch_bytes=32 * MIB)
    async with hostile_engine(smollm2_path, key_file, limits) as engine:
        for act, words in (("write without end", "32 MiB in"), ("nest folders", "cannot be looked into")):
            scratch = Path(f"/proc/{engine.pid}/cwd").resolve()
            with pytest.raises(ScratchLimit, match=words):
                await collect(engine, job(act))
            await engine.wait_healthy()
            assert not scratch.exists()
        assert await answer(engine)
        assert engine.restarts == 2


async def test_files_in_memory_are_counted_where_a_driver_may_want_them(smollm2_path: Path, key_file: Path) -> None:
    """An engine on a graphics card may make them, so many as the scratch folder may hold; the next job works."""
    limits = replace(LIMITS, scratch_bytes=32 * MIB)
    async with hostile_engine(smollm2_path, key_file, limits, use_gpu=True) as engine:
        with pytest.raises(ScratchLimit, match="32 MiB in"):
            await collect(engine, job("fill memory files"))
        await engine.wait_healthy()
        assert await answer(engine)
        assert engine.restarts == 1


@pytest.mark.parametrize(
    ("act", "deadline_s", "errors"), [("hang", 0.1, (TimeLimit, EngineHung)), ("stand still", 60, (EngineHung,))]
)
async def test_a_hanging_engine_is_restarted(
    smollm2_path: Path, key_file: Path, act: str, deadline_s: float, errors: tuple[type[Exception], ...]
) -> None:
    """One job ends at its deadline, and as its cancel is not confirmed, or nothing is heard, the child is replaced."""
    limits = replace(LIMITS, cancel_s=0.1, silence_s=3.0)
    async with hostile_engine(smollm2_path, key_file, limits) as engine:
        with pytest.raises(errors):
            await collect(engine, job(act, deadline_s=deadline_s))
        await engine.wait_healthy()
        assert await answer(engine)
        assert engine.restarts == 1


async def test_a_child_killed_in_mid_job_fails_the_job_only(
    engine: SupervisedEngine, smollm2_path: Path, key_file: Path
) -> None:
    """The cause names the signal; the next job works; another engine's answer goes on to its end."""
    async with hostile_engine(smollm2_path, key_file) as victim:
        prompt = await prepare(victim, "Count to one hundred.")
        request = GenerateRequest(job_key="long", prompt_ids=prompt.token_ids, max_tokens=200, ignore_eos=True)
        async with aclosing(engine.generate(request)) as others:
            while not isinstance(first := await anext(others), Tokens):
                pass
            with pytest.raises(EngineCrashed, match="SIGKILL"):
                await _killed_at_the_first_token(victim, request)
            rest = [event async for event in others if isinstance(event, Tokens)]
        assert sum(len(event.ids) for event in (first, *rest)) == request.max_tokens
        await victim.wait_healthy()
        assert await answer(victim)
        assert (victim.restarts, engine.restarts) == (1, 0)


async def _killed_at_the_first_token(engine: SupervisedEngine, request: GenerateRequest) -> list[Event]:
    events: list[Event] = []
    async with aclosing(engine.generate(request)) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, Tokens) and engine.pid is not None:
                os.kill(engine.pid, signal.SIGKILL)
    return events
