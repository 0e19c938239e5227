"""One node's part of a job: who, over which stream, since when."""

from dataclasses import dataclass

from gpunode._selection import Choice
from gpunode._transport import JobLink


@dataclass
class Part:
    """choice: the node. link: its stream. sent_at, begun_at: of request and first output, monotonic seconds."""

    choice: Choice
    link: JobLink
    sent_at: float
    begun_at: float | None = None
