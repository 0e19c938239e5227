"""What the tracker knows of a worker from the outcomes of its jobs. Pure; nothing of it is ever claimed."""

from dataclasses import dataclass
from typing import Final

OUTCOME_WEIGHT: Final = 0.05
"""What the newest outcome counts in the success rate: about the last forty make nine tenths of it. A policy.

A worker that fails everything has half its weight left after 14 jobs, and as many good ones bring most of it back.
"""
LATENCY_WEIGHT: Final = 0.2
"""What the newest job counts in the average latency: about the last ten make nine tenths of it. A policy."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """avg_latency_ms: from the lease to the result, None before the first. success_rate: 0 to 1, at first 1.

    total_jobs: attempts that ended, whether well or not.
    """

    avg_latency_ms: int | None = None
    success_rate: float = 1.0
    total_jobs: int = 0

    def after_success(self, latency_ms: int) -> "Statistics":
        """Return them after one more result. latency_ms: as measured here, ≥ 0."""
        known = self.avg_latency_ms
        latency = latency_ms if known is None else round(known + LATENCY_WEIGHT * (latency_ms - known))
        return Statistics(
            avg_latency_ms=latency,
            success_rate=self.success_rate + OUTCOME_WEIGHT * (1.0 - self.success_rate),
            total_jobs=self.total_jobs + 1,
        )

    def after_failure(self) -> "Statistics":
        """Return them after one more attempt that failed: refused, wrong, or silent until its lease went."""
        return Statistics(
            avg_latency_ms=self.avg_latency_ms,
            success_rate=self.success_rate - OUTCOME_WEIGHT * self.success_rate,
            total_jobs=self.total_jobs + 1,
        )
