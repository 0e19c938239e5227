"""What trackers tell each other of live workers, and what carries it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gpunode_tracker.workers.worker import WorkerStatus


@dataclass(frozen=True, kw_only=True)
class SignOfLife:
    """That a worker lives, and what it said last. last_heartbeat: Unix seconds."""

    id: str
    status: WorkerStatus
    last_heartbeat: int
    gpu_memory_gb: float
    memory_used_gb: float
    supported_types: Sequence[str]
    models: Sequence[str]


class PresenceStore(Protocol):
    """Carries what this process knows of live workers to the other trackers of the network, and back.

    Of a worker that two trackers heard, the later word counts, in whatever order both are carried.
    """

    async def flush(self) -> int:
        """Write of the workers that were heard here, or changed, since the last time; return how many.

        Raises:
            TrackerError: the store is away. What was to be written is written with a later call.
        """
        ...

    async def read(self) -> None:
        """Learn of the workers that were heard elsewhere.

        Raises:
            TrackerError: the store is away.
        """
        ...
