"""One pull worker and what can be said of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpunode_tracker.workers.statistics import Statistics

WORKER_ID_PATTERN: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


class WorkerStatus(StrEnum):
    """Whether a worker is there. busy: it is, and has work already."""

    ONLINE = "online"
    BUSY = "busy"
    OFFLINE = "offline"


@dataclass(frozen=True, kw_only=True)
class StoredWorker:
    """A worker as the database has it. Instants: Unix seconds.

    status: as derived when it was written last; ``presence`` knows it now. models: empty = whatever comes of its
    types. peer: its key as a peer id, None = it has none and is not paid.
    """

    id: str
    name: str
    status: WorkerStatus
    region: str
    country: str
    city: str
    latitude: int | None
    longitude: int | None
    gpu_model: str
    gpu_memory_gb: float
    memory_used_gb: float
    supported_types: Sequence[str]
    models: Sequence[str]
    statistics: Statistics
    maintenance: bool
    last_heartbeat: int | None
    registered_at: int
    deregistered_at: int | None = None
    peer: str | None = None
