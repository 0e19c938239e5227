"""Workers for tests, without a tracker."""

from typing import Any

from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.statistics import Statistics
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus

from tests.tracker.parties import START_AT


def worker_id(number: int) -> str:
    """Return a UUID in text form."""
    return f"00000000-0000-4000-8000-{number:012x}"


def stored_worker(number: int = 1, **changes: Any) -> StoredWorker:
    """Return a worker of Europe that does chats."""
    fields: dict[str, Any] = {
        "id": worker_id(number),
        "name": f"worker {number}",
        "status": WorkerStatus.OFFLINE,
        "region": "europe",
        "country": "DE",
        "city": "Frankfurt",
        "latitude": 50,
        "longitude": 9,
        "gpu_model": "RTX 4090",
        "gpu_memory_gb": 24.0,
        "memory_used_gb": 0.0,
        "supported_types": ("llm",),
        "models": (),
        "statistics": Statistics(),
        "maintenance": False,
        "last_heartbeat": None,
        "registered_at": START_AT,
    }
    return StoredWorker(**(fields | changes))


def live_worker(number: int = 1, *, heard_at: float = 0.0, **changes: Any) -> LiveWorker:
    """Return one that lives."""
    return LiveWorker(stored_worker(number, **changes), heard_at, WorkerStatus.ONLINE)
