"""What an engine's process may take before its supervisor steps in."""

from dataclasses import dataclass
from typing import Final

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""Size cap of any file that a child writes, bytes, by the kernel (RLIMIT_FSIZE)."""

_DATA_PER_RSS = 2
_DATA_OF_LIBRARIES = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """All durations in seconds, > 0.

    load_s: loading the model. job_s: wall clock of one job. stall_s: a job without any event (token or prompt
    progress) means that the engine hangs. cancel_s: from a cancel to its confirmation, else it hangs.
    heartbeat_s: interval of pings and of the looks at memory and scratch folder. silence_s: no sign of life for so long
    means that it hangs; while it loads, when it cannot answer, being stopped for so long. rss_bytes: resident memory.
    scratch_bytes, scratch_files: of the scratch folder, which needs next to nothing; some graphics drivers keep
    compiled kernels there. output_bytes: of one job. backoff_s, backoff_max_s: pause before a restart, doubled after
    each failure that comes within ``stable_s`` of the start.
    """

    load_s: float = 300.0
    job_s: float = 300.0
    stall_s: float = 120.0
    cancel_s: float = 30.0
    heartbeat_s: float = 2.0
    silence_s: float = 10.0
    rss_bytes: int = 32 * 1024**3
    scratch_bytes: int = 512 * 1024**2
    scratch_files: int = 10_000
    output_bytes: int = 100 * 1024**2
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    stable_s: float = 60.0

    @property
    def data_bytes(self) -> int:
        """Private memory that a child may ask for (RLIMIT_DATA).

        Asking is not using, so it is more than ``rss_bytes``; it bounds what a child takes between two looks at it.
        """
        return _DATA_PER_RSS * self.rss_bytes + _DATA_OF_LIBRARIES
