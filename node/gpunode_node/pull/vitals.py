"""What a pull worker's heartbeats say, and how often."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gpunode_engines.devices import Machine
from gpunode_protocol.jobs_api import LEASE_HEARTBEAT_INTERVAL_S, GpuInfo, WorkerStatusName

from gpunode_node.job_intake import JobIntake
from gpunode_node.pull.offer import Offer
from gpunode_node.pull.workbench import Workbench
from gpunode_node.pull.worker_link import BYTES_PER_GB, WorkerVitals

HEARTBEATS_A_LEASE: Final = 3


class Vitals:
    """What heartbeats say.

    Args:
        intake: whether jobs are taken. bench: the jobs that are held.
        detect_machine: looks at the cards' memory; may block for some milliseconds.
        interval_s: between heartbeats of a worker that holds nothing.
    """

    def __init__(
        self, intake: JobIntake, bench: Workbench, detect_machine: Callable[[], Machine], interval_s: float
    ) -> None:
        self._intake = intake
        self._bench = bench
        self._detect_machine = detect_machine
        self._interval_s = interval_s

    def offer(self) -> Offer:
        """Return what can be taken now."""
        return self._bench.offer if self._intake.takes_jobs else Offer()

    async def now(self) -> WorkerVitals:
        """Look, and return what a heartbeat says."""
        machine = await asyncio.to_thread(self._detect_machine)
        offer = self.offer()
        return WorkerVitals(
            status=self._status(offer),
            gpu_info=gpu_info(machine),
            tasks=offer.tasks,
            models=offer.models,
            holding=self._bench.holding,
        )

    async def between_polls(self) -> WorkerVitals:
        """Return the same while no call for a job is under way: the tracker gives others what it does not name."""
        return replace(await self.now(), polling=False)

    def interval_s(self) -> float:
        """Return seconds to the next heartbeat: whoever holds a job is heard three times in a lease."""
        if not self._bench.holding:
            return self._interval_s
        return min(self._interval_s, LEASE_HEARTBEAT_INTERVAL_S, self._bench.lease_s / HEARTBEATS_A_LEASE)

    def _status(self, offer: Offer) -> WorkerStatusName:
        if self._intake.closed:
            return "offline"
        return "busy" if self._bench.running or not offer.models else "online"


def gpu_info(machine: Machine) -> GpuInfo:
    """Return what the cards' memory holds, in gigabytes of 10^9 bytes; zeros without a card."""
    total = sum(gpu.memory_bytes for gpu in machine.gpus)
    used = total - sum(gpu.free_memory_bytes for gpu in machine.gpus)
    return GpuInfo(memory_used=round(used / BYTES_PER_GB, 2), memory_total=round(total / BYTES_PER_GB, 2))
