"""From catalogue entries to started engines."""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.catalogue import CatalogueEntry, resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.errors import EngineStartFailed, ModelNotPulled, NotEnoughMemory
from gpunode_engines.fetch import locate
from gpunode_engines.memory_plan import Capacity
from gpunode_engines.on_demand import OnDemandEngine
from gpunode_engines.supervisor import SupervisedEngine
from gpunode_node import model_loading
from gpunode_node.model_loading import CatalogueEngines, load_models, stop_models
from gpunode_node.scheduler import Ticket

from tests.engines.fake_engine import FakeEngine
from tests.engines.scripted_engine import CHILD_PATH, QUICK_LIMITS, SCRIPTED_PLAN
from tests.node.dripping_hub import dripping_hub
from tests.node.fake_tracker import running_tracker
from tests.node.running_daemon import settings_of

ROOT = Path(__file__).parents[2]
MACHINE = Machine(physical_cores=1, logical_cores=1, memory_bytes=2**33, available_memory_bytes=2**33, gpus=())
PACKAGED, HUB = resolve_model("smollm2-135m"), resolve_model("qwen2.5-0.5b")


class _Factory:
    """Fake engines; the one with the number ``failing`` does not start."""

    def __init__(self, failing: int = -1) -> None:
        self.failing = failing
        self.engines: list[FakeEngine] = []

    async def __call__(self, entry: CatalogueEntry) -> FakeEngine:
        engine = FakeEngine(model=entry.name)
        if len(self.engines) == self.failing:

            async def fail() -> None:
                raise EngineStartFailed("no memory")

            engine.start = fail  # type: ignore[method-assign,assignment]  # -- the test breaks it
        self.engines.append(engine)
        return engine


async def test_models_are_started_and_measured(caplog: pytest.LogCaptureFixture) -> None:
    """Each is served under its catalogue name, with the queue's limit; the log has the speed in the task's unit."""
    caplog.set_level("INFO", "gpunode_node.model_loading")
    models = await load_models([PACKAGED, HUB], _Factory(), 5)
    assert [model.name for model in models] == [PACKAGED.name, HUB.name]
    assert all(model.engine.healthy and model.speed.decode_tokens_per_s > 0 for model in models)
    assert f"serving {HUB.name}: {models[1].speed_words}" in caplog.text
    await stop_models(models)
    assert not any(model.engine.healthy for model in models)


async def test_nothing_is_left_of_a_failed_start() -> None:
    """What was started before the failure is stopped."""
    factory = _Factory(failing=1)
    with pytest.raises(EngineStartFailed):
        await load_models([PACKAGED, HUB], factory, 5)
    assert not factory.engines[0].healthy


async def test_a_model_that_is_not_here_is_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only from a hub: a package's model is installed by its user."""
    pulled: list[str] = []

    def missing(entry: CatalogueEntry, *_: object) -> None:
        raise ModelNotPulled(entry.name)

    monkeypatch.setattr(model_loading, "plan_engine", missing)
    monkeypatch.setattr(model_loading, "pull", lambda entry, *_: pulled.append(entry.name))
    settings = EngineSettings(models_dir=tmp_path)
    create = CatalogueEngines(settings, MACHINE, EnginePool(Capacity.of(MACHINE, settings)))
    for entry in (PACKAGED, HUB):
        with pytest.raises(ModelNotPulled):
            await create(entry)
    assert pulled == [HUB.name]


async def test_models_that_do_not_fit_together_take_turns(tmp_path: Path) -> None:
    """The second of two fits only with fewer jobs at once, a third with what the first one has; a giant never does."""
    (weights,) = locate(PACKAGED, tmp_path)
    whole = weights.stat().st_size + PACKAGED.kv_bytes_per_token * PACKAGED.context_tokens * PACKAGED.slots
    machine = replace(MACHINE, available_memory_bytes=int(whole * 1.8))
    settings = EngineSettings(models_dir=tmp_path, cache_dir=tmp_path)
    pool = EnginePool(Capacity.of(machine, settings))
    create = CatalogueEngines(settings, machine, pool)
    engines = [await create(PACKAGED) for _ in range(3)]
    assert [engine.plan.options.slots for engine in engines if isinstance(engine, OnDemandEngine)] == [4, 2, 4]
    assert pool.loaded() == ()
    tiny = replace(machine, available_memory_bytes=2**20)
    with pytest.raises(NotEnoughMemory):
        await CatalogueEngines(settings, tiny, pool)(PACKAGED)


async def test_a_model_that_left_memory_waits_for_jobs() -> None:
    """Its queue tells the load's time, and starts a job once the model is back."""
    plan = replace(SCRIPTED_PLAN, memory_bytes=1)
    pool = EnginePool(Capacity(main_bytes=1, card_bytes=0))

    async def create(entry: CatalogueEntry) -> OnDemandEngine:
        return OnDemandEngine(
            replace(plan, model=entry.name),
            pool,
            lambda lowered: SupervisedEngine(lowered, QUICK_LIMITS, extra_environment=CHILD_PATH),
        )

    models = await load_models([PACKAGED, HUB], create, 5)
    try:
        first, second = models
        assert (first.waits_for_memory, second.waits_for_memory) == (True, False)
        started, moves = asyncio.Event(), []
        ticket = Ticket(
            priority=0,
            input_units=1,
            output_units=1,
            on_start=started.set,
            on_move=lambda position, eta_s: moves.append((position, eta_s)),
        )
        first.scheduler.enter(ticket, asyncio.get_running_loop().time())
        assert ticket.position == 1
        assert ticket.eta_s > 0
        await started.wait()
        assert (first.waits_for_memory, second.waits_for_memory) == (False, True)
        assert moves[-1][0] == 0
    finally:
        await stop_models(models)


_START = """
import dataclasses, logging, sys
from gpunode_node.commands import _run
from gpunode_node.config import NodeSettings
from gpunode_node.daemon import NodeDaemon
from tests.node.running_daemon import FakeWorld
logging.basicConfig(level=logging.INFO)
world = dataclasses.replace(FakeWorld().world(), create_engine=None)
sys.exit(_run(NodeDaemon(NodeSettings.load({}), world)))
"""


async def test_a_signal_ends_a_download(tmp_path: Path) -> None:
    """The first SIGTERM ends the process in order while the hub hangs; until then the log tells how far it is."""
    async with running_tracker() as tracker, dripping_hub(HUB) as hub:
        settings = settings_of(tmp_path / "n", tracker)
        environment = {
            "GPUNODE_BOOTSTRAP": settings.bootstrap,
            "GPUNODE_DATA_DIR": str(settings.data_dir),
            "GPUNODE_MODEL": HUB.name,
            "GPUNODE_MODELS_DIR": str(tmp_path / "models"),
            "GPUNODE_MODEL_MIRROR": hub,
        }
        node = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _START, env=environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        assert node.stderr is not None
        try:
            log = await asyncio.wait_for(node.stderr.readuntil(b" 20 %\n"), 60)
            assert f"downloading {HUB.name}".encode() in log
            node.send_signal(signal.SIGTERM)
            assert b"stopping" in await asyncio.wait_for(node.stderr.read(), 20)
            assert await node.wait() == 0
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
