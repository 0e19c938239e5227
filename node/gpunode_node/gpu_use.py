"""The graphics cards of this machine, and whether the engines use them. Pure."""

from collections.abc import Sequence
from typing import Final

from gpunode_engines.devices import Machine
from gpunode_protocol.adverts import Gpu

from gpunode_node.served_model import ServedModel

MEBIBYTE: Final = 1024 * 1024
NO_GPU: Final = Gpu(model="", count=0, memory_mb=0)
_CPU: Final = "cpu"
"""What an engine calls its device when it computes on no card."""


def gpu_of(machine: Machine) -> Gpu:
    """Return the cards as the network names them: those of the first one's model."""
    if not machine.gpus:
        return NO_GPU
    first = machine.gpus[0]
    count = sum(gpu.name == first.name for gpu in machine.gpus)
    return Gpu(model=first.name[:48], count=count, memory_mb=first.memory_bytes // MEBIBYTE)


def advertised_gpu(machine: Machine, models: Sequence[ServedModel]) -> Gpu:
    """Return the cards that adverts name: none while no engine computes on them."""
    used = any(model.info.device != _CPU for model in models)
    return gpu_of(machine) if used else NO_GPU


def idle_gpu_problems(machine: Machine, models: Sequence[ServedModel], *, use_gpu: bool) -> list[str]:
    """Return a line for each model that computes on the CPU beside a card; use_gpu: as the settings say."""
    if not machine.gpus or not use_gpu:
        return []
    return [
        f"{model.name} runs on the CPU, although this machine has a {machine.gpus[0].name}: this build of "
        f"{model.info.backend} cannot use it, or the model does not fit in its free memory (the log of the start says "
        'so). "Using a GPU" in docs/configuration.md tells how to get a build that can; '
        "GPUNODE_ENGINE_GPU=false if the CPU is meant."
        for model in models
        if model.info.device == _CPU
    ]
