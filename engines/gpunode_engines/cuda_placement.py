"""Where the weights of a transformers model go on a machine with CUDA. Pure: measured in the child, decided here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gpunode_engines.errors import NotEnoughMemory
from gpunode_engines.memory_fit import MEMORY_SHARE

QuantisedBits = Literal[0, 4, 8]
"""0: the weights as they are stored."""

_STORED_BITS: Final = 16
_GIB: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaPlacement:
    """device_map: as transformers takes it: all on one card, or accelerate's choice within ``max_memory`` (bytes).

    Keys of max_memory: numbers of cards, and ``cpu`` where a part of the weights stays in RAM.
    """

    device_map: dict[str, int] | Literal["auto"]
    max_memory: dict[int | str, int] | None = None


def quantised_bits(backend: str, bits_per_weight: float) -> QuantisedBits:
    """Return to what a catalogue entry's weights are quantised when they are loaded."""
    if backend != "transformers":
        return 0
    return 4 if bits_per_weight == 4 else 8 if bits_per_weight == 8 else 0


def quantised_bytes(stored_bytes: int, bits: QuantisedBits) -> int:
    """Return what weights of 16 bits take once they are loaded."""
    return stored_bytes * bits // _STORED_BITS if bits else stored_bytes


def place(
    weights_bytes: int, cache_bytes: int, *, cards: Sequence[int], ram_bytes: int, bits: QuantisedBits
) -> CudaPlacement:
    """Return the fastest placement that fits: one card, several cards, cards and RAM.

    Args:
        weights_bytes: as loaded. cache_bytes: of all jobs together, always on the cards.
        cards: free bytes of each, at least one. ram_bytes: free. bits: quantised weights cannot lie in RAM.

    Raises:
        NotEnoughMemory: it fits nowhere.
    """
    usable = [int(free * MEMORY_SHARE) for free in cards]
    largest = max(range(len(usable)), key=usable.__getitem__)
    if weights_bytes + cache_bytes <= usable[largest]:
        return CudaPlacement(device_map={"": largest})
    total = sum(usable)
    limits: dict[int | str, int] = {
        index: max(0, free - cache_bytes * free // max(1, total)) for index, free in enumerate(usable)
    }
    if weights_bytes <= sum(limits.values()):
        return CudaPlacement(device_map="auto", max_memory=limits)
    ram_usable = int(ram_bytes * MEMORY_SHARE)
    if not bits and total > cache_bytes and weights_bytes <= sum(limits.values()) + ram_usable:
        return CudaPlacement(device_map="auto", max_memory=limits | {"cpu": ram_usable})
    raise NotEnoughMemory(
        f"The weights take {weights_bytes / _GIB:.1f} GiB and the caches {cache_bytes / _GIB:.1f}; the cards have "
        f"{total / _GIB:.1f} GiB that can be used{' and quantised weights cannot lie in RAM' if bits else ''}. Serve a "
        "smaller model, fewer slots or a shorter context."
    )
