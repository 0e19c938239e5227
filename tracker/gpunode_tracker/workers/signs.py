"""What trackers tell each other of live workers, and what carries it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

from annotated_types import MaxLen
from gpunode_protocol.jobs_api import MAX_WORKER_MODELS, GigaBytes
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Name, UnixSeconds
from pydantic import AfterValidator

from gpunode_tracker.workers.worker import WorkerStatus

MAX_TYPES: Final = 8


def _task_name(text: str) -> str:
    return Task(text).value


@dataclass(frozen=True, kw_only=True)
class SignOfLife:
    """That a worker lives, and what it said last. What comes from elsewhere is held to the annotations."""

    id: str
    status: WorkerStatus
    last_heartbeat: UnixSeconds
    gpu_memory_gb: GigaBytes
    memory_used_gb: GigaBytes
    supported_types: Annotated[Sequence[Annotated[str, AfterValidator(_task_name)]], MaxLen(MAX_TYPES)]
    models: Annotated[Sequence[Name], MaxLen(MAX_WORKER_MODELS)]


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
