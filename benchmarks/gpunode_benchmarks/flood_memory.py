"""How much a node's memory grew during a flood. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gpunode_benchmarks.resident_memory import MEBIBYTE, Resident
from gpunode_benchmarks.stats import median

_MB: Final = 1_000_000
_PARTS: Final[Mapping[str, Callable[[Resident], float]]] = {
    "node": lambda resident: resident.own,
    "p2pd": lambda resident: resident.p2pd,
}


def growth_mb(samples: Sequence[tuple[float, Resident]], flooded_from_s: float) -> dict[str, float]:
    """Return by how many MB (10^6 bytes) ``node`` and ``p2pd`` exceeded at most what they had before, in the median.

    Args:
        samples: with their times.
        flooded_from_s: when the flood began; samples of both sides of it are needed.

    Raises:
        ValueError: there are none on one side.
    """
    before = [resident for at_s, resident in samples if at_s < flooded_from_s]
    since = [resident for at_s, resident in samples if at_s >= flooded_from_s]
    grown_mib = {name: max(map(part, since)) - median([*map(part, before)]) for name, part in _PARTS.items()}
    return {name: grown * MEBIBYTE / _MB for name, grown in grown_mib.items()}
