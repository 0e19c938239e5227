"""From a model's name and the settings to an engine that is ready to be started."""

from dataclasses import replace
from pathlib import Path

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.fetch import locate, root_of
from gpunode_engines.file_digests import FileDigests, weights_digest
from gpunode_engines.ipc import BackendOptions
from gpunode_engines.limits import EngineLimits
from gpunode_engines.model_facts import read_facts
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine


def plan_engine(entry: CatalogueEntry, settings: EngineSettings, machine: Machine) -> EnginePlan:
    """Work out how a model is loaded here. Reads and perhaps hashes its files: seconds to minutes, call it in a thread.

    Raises:
        ModelNotPulled: the files are not here. UnreadableWeights: they cannot be read.
    """
    paths = locate(entry, settings.models_dir)
    root = root_of(entry, settings.models_dir)
    facts = read_facts(root, paths)
    context_tokens = min(settings.engine_context_tokens or entry.context_tokens, facts.context_tokens)
    slots = settings.engine_slots or entry.slots
    weights_bytes = sum(path.stat().st_size for path in paths)
    return EnginePlan(
        task=entry.task,
        model=entry.name,
        backend=entry.backend,
        root=str(root),
        files=tuple(str(path) for path in paths),
        weights_digest=_digest(paths, settings.cache_dir),
        quantisation=facts.quantisation,
        memory_bytes=weights_bytes + facts.kv_bytes_per_token * context_tokens * slots,
        options=BackendOptions(
            context_tokens=context_tokens,
            slots=slots,
            threads=settings.engine_threads or machine.physical_cores,
            use_gpu=settings.engine_gpu and bool(machine.gpus),
            chat_template=entry.chat_template,
        ),
    )


def create_engine(plan: EnginePlan, settings: EngineSettings) -> SupervisedEngine:
    """Return the engine of a plan under the limits of the settings; the caller starts and stops it."""
    limits = replace(EngineLimits(), rss_bytes=settings.engine_memory_limit_bytes, job_s=settings.engine_time_limit_s)
    return SupervisedEngine(plan, limits)


def _digest(paths: tuple[Path, ...], cache_dir: Path) -> bytes:
    digests = FileDigests(cache_dir)
    try:
        return weights_digest([digests.digest(path) for path in paths])
    except OSError as error:
        raise UnreadableWeights(f"The model file {error.filename} cannot be read: {error.strerror}.") from error
