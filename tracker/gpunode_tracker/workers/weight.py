"""A worker's weight in the draw for a job: the original plan's formula. Pure."""

from typing import Final

from gpunode_tracker.workers.worker import WorkerStatus

BASE_WEIGHT: Final = 100.0
LARGE_MEMORY_GB: Final = 24.0
LARGE_MEMORY_BONUS: Final = 50.0
MEDIUM_MEMORY_GB: Final = 12.0
MEDIUM_MEMORY_BONUS: Final = 20.0
BUSY_FACTOR: Final = 0.1


def weight_of(gpu_memory_gb: float, success_rate: float, status: WorkerStatus) -> float:
    """Return the weight, ≥ 0: the higher, the likelier the worker gets a job."""
    weight = BASE_WEIGHT
    if gpu_memory_gb >= LARGE_MEMORY_GB:
        weight += LARGE_MEMORY_BONUS
    elif gpu_memory_gb >= MEDIUM_MEMORY_GB:
        weight += MEDIUM_MEMORY_BONUS
    weight *= success_rate
    if status is WorkerStatus.BUSY:
        weight *= BUSY_FACTOR
    return weight
