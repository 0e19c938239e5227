"""Which of a model's weights, and with them which backend, a machine serves."""

import importlib.metadata
import importlib.util

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Machine
from gpunode_engines.memory_fit import MEMORY_SHARE


def on_machine(entry: CatalogueEntry, settings: EngineSettings, machine: Machine) -> CatalogueEntry:
    """Return the entry with the weights to use here: those for CUDA where they fit and can run, else the others.

    The backend that the settings name decides where a model has weights for it.
    """
    variant = entry.for_cuda()
    if variant is None:
        return entry
    if settings.engine_backend:
        return variant if variant.backend == settings.engine_backend else entry
    if not settings.engine_gpu or not torch_has_cuda() or (variant.gated and not settings.model_mirror):
        return entry
    free_bytes = max((gpu.free_memory_bytes for gpu in machine.gpus), default=0)
    return variant if variant.memory_bytes() <= free_bytes * MEMORY_SHARE else entry


def torch_has_cuda() -> bool:
    """Whether transformers is here with a build of torch that is not for CPUs only. Imports neither."""
    if importlib.util.find_spec("transformers") is None:
        return False
    try:
        return not importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
