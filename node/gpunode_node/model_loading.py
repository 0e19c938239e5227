"""From catalogue entries to started engines with their measured speeds."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from gpunode_engines.backend_choice import on_machine
from gpunode_engines.base import Engine, MeasuredSpeed
from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.download_display import choose_display
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.errors import ModelNotPulled, NotEnoughMemory
from gpunode_engines.fetch import pull
from gpunode_engines.memory_fit import machine_without
from gpunode_engines.on_demand import OnDemandEngine
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.remotes import choose_remote
from gpunode_engines.supervisor import EnginePlan

from gpunode_node.daemon_thread import run_in_daemon_thread
from gpunode_node.scheduler import AlwaysReady
from gpunode_node.served_model import ServedModel

logger = logging.getLogger(__name__)


class EngineFactory(Protocol):
    """Makes the engine of a catalogue entry, not started."""

    async def __call__(self, entry: CatalogueEntry) -> Engine:
        """Return the engine. Raises EngineError."""
        ...


class CatalogueEngines:
    """The real factory: the files are here or are pulled, and the engine runs in a child process.

    Args:
        settings: of the node.
        machine: before any engine runs; each engine leaves less of it to the next.
        pool: where the engines live.
    """

    def __init__(self, settings: EngineSettings, machine: Machine, pool: EnginePool) -> None:
        self._settings = settings
        self._whole = self._left = machine
        self._pool = pool

    async def __call__(self, entry: CatalogueEntry) -> Engine:
        """See ``EngineFactory``."""
        settings = self._settings
        entry = on_machine(entry, settings, self._left)
        try:
            plan = await self._plan(entry)
        except ModelNotPulled:
            if entry.source.kind != "hub":
                raise
            await self._pull(entry)
            plan = await self._plan(entry)
        self._left = machine_without(self._left, plan.memory_bytes, on_gpu=plan.options.use_gpu)
        return OnDemandEngine(plan, self._pool, lambda lowered: create_engine(lowered, settings))

    async def _plan(self, entry: CatalogueEntry) -> EnginePlan:
        """Plan in a thread that a stop leaves behind: digests of many gigabytes take long."""
        return await run_in_daemon_thread(lambda: self._beside_or_alone(entry))

    def _beside_or_alone(self, entry: CatalogueEntry) -> EnginePlan:
        """Plan a model beside those before it; where it fits better alone, they take turns in memory."""
        settings = self._settings
        try:
            beside = plan_engine(entry, settings, self._left)
            if beside.options.use_gpu or not (settings.engine_gpu and self._whole.gpus):
                return beside
        except NotEnoughMemory:
            if self._left == self._whole:
                raise
            beside = None
        alone = plan_engine(entry, settings, self._whole)
        if beside is not None and not alone.options.use_gpu:
            return beside
        logger.warning(
            "%s does not fit in memory beside the models before it: they take turns, and a job may wait for a load",
            entry.name,
            extra={"event": "models_take_turns", "model": entry.name},
        )
        return alone

    async def _pull(self, entry: CatalogueEntry) -> None:
        """Download a model and show how far it is; a stop of the node leaves the thread behind and ends at once."""
        settings = self._settings
        logger.info("downloading %s", entry.name, extra={"event": "model_pull", "model": entry.name})
        with choose_display() as display:
            remote = choose_remote(settings.model_mirror, display)
            await run_in_daemon_thread(lambda: pull(entry, settings.models_dir, remote))


async def load_models(entries: Sequence[CatalogueEntry], create: EngineFactory, queue_limit: int) -> list[ServedModel]:
    """Start an engine for every entry, one after the other, and measure each while nothing else runs.

    Raises:
        EngineError: a model that cannot be loaded; what was started before is stopped again.
    """
    models: list[ServedModel] = []
    try:
        for entry in entries:
            engine = await create(entry)
            try:
                await engine.start()
                speed = await engine.measure_speed()
            except BaseException:
                await engine.stop()
                raise
            models.append(_served(entry, engine, speed, queue_limit))
            logger.info(
                "serving %s: %s",
                entry.name,
                models[-1].speed_words,
                extra={"event": "model_ready", "model": entry.name, "slots": engine.info.slots},
            )
    except BaseException:
        await stop_models(models)
        raise
    return models


def _served(entry: CatalogueEntry, engine: Engine, speed: MeasuredSpeed, queue_limit: int) -> ServedModel:
    on_demand = engine if isinstance(engine, OnDemandEngine) else None
    model = ServedModel(
        entry.name,
        engine,
        speed,
        queue_limit,
        readiness=on_demand or AlwaysReady(),
        catalogue_context_tokens=entry.context_tokens,
    )
    if on_demand is not None:
        on_demand.on_change = model.engine_changed
    return model


async def stop_models(models: Sequence[ServedModel]) -> None:
    """End all engines."""
    await asyncio.gather(*(model.engine.stop() for model in models))
