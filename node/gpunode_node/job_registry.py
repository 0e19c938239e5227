"""The jobs that run, and those whose result is kept for a client that lost it."""

import asyncio
import hashlib

from gpunode_protocol.identity import PeerId
from gpunode_protocol.signing import Envelope

from gpunode_node.job_run import JobRun

KEPT_RESULT_S = 600.0
"""A finished job's frames are kept for so long."""
MAX_KEPT_BYTES = 256 * 1024 * 1024
"""Frames of finished jobs together; the oldest give way."""


class JobRegistry:
    """Runs by the exact bytes of their request. Owns their tasks."""

    def __init__(self) -> None:
        self._runs: dict[tuple[PeerId, bytes], JobRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, peer: PeerId, envelope: Envelope) -> JobRun | None:
        """Return the job of the same bytes from the same peer, running or finished."""
        run = self._runs.get(_name(peer, envelope))
        if run is None or run.request.envelope != envelope or (run.job.is_over and not run.accepted):
            return None
        return run

    def start(self, run: JobRun) -> None:
        """Run a job; its client is the peer that it is found for."""
        self._runs[_name(run.key.client, run.request.envelope)] = run
        task = asyncio.create_task(run.run())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def expire(self, now: float) -> None:
        """Drop results that nobody may ask for any more; ``now``: monotonic seconds."""
        kept_bytes = 0
        over = [(run.over_at, name, run) for name, run in self._runs.items() if run.over_at is not None]
        for over_at, name, run in sorted(over, key=lambda entry: -entry[0]):
            kept_bytes += sum(len(frame) for frame in run.job.frames)
            if not run.accepted or now - over_at > KEPT_RESULT_S or kept_bytes > MAX_KEPT_BYTES:
                del self._runs[name]

    @property
    def unfinished(self) -> list[JobRun]:
        """Jobs without ``done`` or ``error``."""
        return [run for run in self._runs.values() if not run.job.is_over]

    def drain(self, deadline_s: float) -> None:
        """Tell every job that the node stops; see ``JobRun.drain``."""
        for run in self._runs.values():
            run.drain(deadline_s)

    async def wait_ended(self, timeout_s: float) -> bool:
        """Wait until all jobs are over and settled, at most ``timeout_s`` seconds; return whether they are."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        return not self._tasks

    async def close(self) -> None:
        """Cancel what still runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)


def _name(peer: PeerId, envelope: Envelope) -> tuple[PeerId, bytes]:
    return peer, hashlib.sha256(envelope.body).digest()
