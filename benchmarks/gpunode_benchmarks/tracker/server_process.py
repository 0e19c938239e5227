"""A server that is measured from outside: where it listens, and what processor time it has used."""

from dataclasses import dataclass
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.http_line import Address


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server. pid: of its process."""

    address: Address
    pid: int

    @classmethod
    def of_run_file(cls, run: dict[str, Any]) -> Self:
        """Return the server that ``run.json`` names."""
        return cls(Address.of_url(run["url"]), run["pid"])

    def cpu_s(self) -> float:
        """Return the processor seconds that it has used so far, user's and system's, all threads.

        Raises:
            BenchmarkFailed: it has ended.
        """
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess as error:
            raise BenchmarkFailed("A server ended while it was measured. Run it again with --debug.") from error
        used: float = times.user + times.system
        return used
