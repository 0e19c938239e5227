"""How much of what is wanted of a model fits in the memory that is free. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine
from gpunode_engines.errors import NotEnoughMemory
from gpunode_engines.model_facts import ModelFacts

MEMORY_SHARE: Final = 0.9
"""Of free memory; the rest is for the library itself and for intermediate results."""
MIN_CONTEXT_TOKENS: Final = 1024
"""With less, a chat has hardly room for a question and its answer; a model is refused rather than served like that."""
_CONTEXT_STEP_TOKENS: Final = 256
_MIB: Final = 1024**2
_GIB: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Free memory. usable_bytes: for one more model. name: for messages."""

    usable_bytes: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """context_tokens: prompt and answer of one job. slots: jobs at once. Both >= 1."""

    context_tokens: int
    slots: int


def main_memory(machine: Machine, settings: EngineSettings) -> Room:
    """Return the room for a model on the CPU: what is free, up to the limit of an engine's process."""
    usable_bytes = int(machine.available_memory_bytes * MEMORY_SHARE)
    limit_bytes = settings.engine_memory_limit_bytes
    if limit_bytes < usable_bytes:
        return Room(usable_bytes=limit_bytes, name="memory within GPUNODE_ENGINE_MEMORY_LIMIT_BYTES")
    return Room(usable_bytes=usable_bytes, name="memory")


def card_memory(machine: Machine, *, over_all_cards: bool) -> Room:
    """Return the room for a model on the graphics cards; over_all_cards: the backend spreads one model over them."""
    free = [gpu.free_memory_bytes for gpu in machine.gpus]
    usable_bytes = int((sum(free) if over_all_cards else max(free, default=0)) * MEMORY_SHARE)
    return Room(usable_bytes=usable_bytes, name="memory of the graphics card")


def within_owners_limit(machine: Machine, max_gpu_memory: str) -> Machine:
    """Return a machine whose cards have no more free memory than their owner gives.

    Args:
        machine: as it is.
        max_gpu_memory: ``6000`` (MiB of each card) or ``50%`` (of each card's memory); empty = all.
    """
    gpus = [
        replace(gpu, free_memory_bytes=min(gpu.free_memory_bytes, owners_limit_bytes(gpu, max_gpu_memory)))
        for gpu in machine.gpus
    ]
    return replace(machine, gpus=tuple(gpus))


def owners_share(machine: Machine, max_gpu_memory: str) -> float:
    """Return the least share of a card that its owner gives, (0, 1]; see ``within_owners_limit``."""
    shares = [owners_limit_bytes(gpu, max_gpu_memory) / gpu.memory_bytes for gpu in machine.gpus]
    return min(shares, default=1.0)


def owners_limit_bytes(gpu: Gpu, max_gpu_memory: str) -> int:
    """Return what the owner gives of a card; see ``within_owners_limit``."""
    if not max_gpu_memory:
        return gpu.memory_bytes
    if max_gpu_memory.endswith("%"):
        return gpu.memory_bytes * int(max_gpu_memory.removesuffix("%")) // 100
    return min(gpu.memory_bytes, int(max_gpu_memory) * _MIB)


def fit(model: str, facts: ModelFacts, wanted: Size, room: Room) -> Size:
    """Return what fits of ``wanted``: fewer jobs at once first, then a shorter context for the one that is left.

    Raises:
        NotEnoughMemory: not even one job with ``MIN_CONTEXT_TOKENS``, or with what is wanted if that is less.
    """
    left_bytes = room.usable_bytes - facts.weights_bytes
    slots = min(wanted.slots, _count(left_bytes, facts.kv_bytes_per_token * wanted.context_tokens, wanted.slots))
    if slots >= 1:
        return replace(wanted, slots=slots)
    context_tokens = _count(left_bytes, facts.kv_bytes_per_token, wanted.context_tokens)
    context_tokens -= context_tokens % _CONTEXT_STEP_TOKENS
    least_tokens = min(MIN_CONTEXT_TOKENS, wanted.context_tokens)
    if context_tokens >= least_tokens:
        return Size(context_tokens=context_tokens, slots=1)
    raise NotEnoughMemory(_too_little(model, facts.weights_bytes + facts.kv_bytes_per_token * least_tokens, room))


def taken_bytes(facts: ModelFacts, size: Size) -> int:
    """Return what a model of this size takes: weights and key-value caches."""
    return facts.weights_bytes + facts.kv_bytes_per_token * size.context_tokens * size.slots


def machine_without(machine: Machine, memory_bytes: int, *, on_gpu: bool) -> Machine:
    """Return what is left of a machine once a model has taken its memory; of cards, the emptiest gives first."""
    if not on_gpu:
        return replace(machine, available_memory_bytes=max(0, machine.available_memory_bytes - memory_bytes))
    gpus = list(machine.gpus)
    for index in sorted(range(len(gpus)), key=lambda index: -gpus[index].free_memory_bytes):
        part_bytes = min(memory_bytes, gpus[index].free_memory_bytes)
        gpus[index] = replace(gpus[index], free_memory_bytes=gpus[index].free_memory_bytes - part_bytes)
        memory_bytes -= part_bytes
    return replace(machine, gpus=tuple(gpus))


def _count(available_bytes: int, each_bytes: int, wanted: int) -> int:
    """Return how many pieces fit; ``wanted`` where a piece takes nothing."""
    if available_bytes < 0:
        return 0
    return available_bytes // each_bytes if each_bytes else wanted


def _too_little(model: str, needed_bytes: int, room: Room) -> str:
    return (
        f"{model} needs at least {needed_bytes / _GIB:.1f} GiB, and {room.usable_bytes / _GIB:.1f} GiB of {room.name} "
        "can be used. Close other programs, serve fewer models or a smaller one (`gpunode models list`), or add memory."
    )
