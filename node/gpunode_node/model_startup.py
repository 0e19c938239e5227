"""From the owner's wishes to started engines, and to their care; the same however jobs come to the node."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.devices import Machine
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.memory_fit import within_owners_limit
from gpunode_engines.own_models import known_models
from gpunode_protocol.tasks import Task

from gpunode_node.config import NodeSettings
from gpunode_node.gpu_use import idle_gpu_problems
from gpunode_node.host_care import HostCare
from gpunode_node.model_choice import default_choice
from gpunode_node.model_loading import CatalogueEngines, load_models, stop_models
from gpunode_node.pause import Pause
from gpunode_node.served_model import ServedModel
from gpunode_node.surroundings import Surroundings

logger = logging.getLogger(__name__)


class ModelStartup:
    """Finds out what to serve, and starts it.

    Args:
        settings: of the node.
        surroundings: what comes from outside.
        stack: gets the end of every part.
    """

    def __init__(self, settings: NodeSettings, surroundings: Surroundings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._stack = stack
        self._resolve = surroundings.resolve_model or known_models(settings).resolve

    def named(self) -> list[CatalogueEntry]:
        """Return the models that the owner names, each once. Raises ModelNotFound."""
        return list(dict.fromkeys(self._resolve(name) for name in self._settings.model))

    async def machine(self) -> Machine:
        """Return what the owner lets models have of this machine."""
        found = await asyncio.to_thread(self._surroundings.detect_machine)
        return within_owners_limit(found, self._settings.max_gpu_memory)

    def choose(self, defaults: Mapping[str, str], machine: Machine) -> CatalogueEntry:
        """Return the model to serve where the owner names none, and say why; defaults: the network's, by task.

        Raises:
            NotEnoughMemory: nothing fits.
        """
        choice = default_choice(defaults.get(Task.LLM), known_models(self._settings), self._settings, machine)
        logger.info(
            "no model was named, so %s is served: %s",
            choice.name,
            choice.why,
            extra={"event": "model_chosen", "model": choice.name},
        )
        return self._resolve(choice.name)

    async def load(self, entries: list[CatalogueEntry], machine: Machine, pool: EnginePool) -> list[ServedModel]:
        """Start the engines of all models, and say where a card stays idle. Raises EngineError."""
        settings = self._settings
        create = self._surroundings.create_engine or CatalogueEngines(settings, machine, pool)
        models = await load_models(entries, create, settings.queue_limit)
        self._stack.push_async_callback(stop_models, models)
        for problem in idle_gpu_problems(machine, models, use_gpu=settings.engine_gpu):
            logger.warning("%s", problem, extra={"event": "gpu_not_used"})
        return models

    def care(self, pause: Pause, pool: EnginePool, models: list[ServedModel]) -> HostCare:
        """Return what looks after the machine's owner; not started."""
        surroundings = self._surroundings
        care = HostCare(
            self._settings,
            surroundings.meter,
            pause,
            pool,
            models,
            lambda: datetime.fromtimestamp(surroundings.unix_time()).astimezone(),
        )
        self._stack.push_async_callback(care.close)
        return care
