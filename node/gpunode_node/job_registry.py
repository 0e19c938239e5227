"""The jobs that run, and those whose result is kept for a client that lost it."""

import asyncio
import hashlib
from collections import Counter

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.signing import Envelope

from gpunode_node.job_run import JobRun

CROWDED_RETRY_AFTER_S = 1.0
KEPT_RESULT_S = 600.0
"""A finished job's frames are kept for so long."""
MAX_JOBS_PER_PEER = 32
MAX_JOBS_PER_ADDRESS = 256
"""Jobs that are not over and settled; they outlive their streams by seconds, and a peer may have several grants."""
MAX_KEPT_BYTES = 256 * 1024 * 1024
"""Frames of finished jobs together; the oldest give way."""


class JobRegistry:
    """Runs by the exact bytes of their request. Owns their tasks."""

    def __init__(self) -> None:
        self._runs: dict[tuple[PeerId, bytes], JobRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: Counter[str] = Counter()  # by peer and by address

    def find(self, peer: PeerId, envelope: Envelope) -> JobRun | None:
        """Return the job of the same bytes from the same peer, running or finished."""
        run = self._runs.get(_name(peer, envelope))
        if run is None or run.request.envelope != envelope or (run.job.is_over and not run.accepted):
            return None
        return run

    def check_room(self, peer: PeerId, origin: str) -> None:
        """Refuse a peer, or an address, that has too many jobs here.

        Raises:
            JobError: ``busy``.
        """
        for name, limit, whose in (
            (_peer_name(peer), MAX_JOBS_PER_PEER, "you"),
            (_address_name(origin), MAX_JOBS_PER_ADDRESS, "your address"),
        ):
            if self._live[name] >= limit:
                raise job_error(
                    ErrorCode.BUSY,
                    f"{limit} jobs of {whose} are under way here; wait until one has ended, or try another node.",
                    retry_after_s=CROWDED_RETRY_AFTER_S,
                )

    def start(self, run: JobRun, origin: str) -> None:
        """Run a job, which counts for its client and for the address ``origin``; it is found for its client."""
        names = (_peer_name(run.key.client), _address_name(origin))
        self._live.update(names)
        self._runs[_name(run.key.client, run.request.envelope)] = run
        task = asyncio.create_task(run.run())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, names))

    def expire(self, now: float) -> None:
        """Drop results that nobody may ask for any more; ``now``: monotonic seconds."""
        kept_bytes = 0
        over = [(run.over_at, name, run) for name, run in self._runs.items() if run.over_at is not None]
        for over_at, name, run in sorted(over, key=lambda entry: -entry[0]):
            kept_bytes += sum(len(frame) for frame in run.job.frames)
            if not run.accepted or now - over_at > KEPT_RESULT_S or kept_bytes > MAX_KEPT_BYTES:
                del self._runs[name]

    def forget(self, run: JobRun) -> None:
        """Drop the result of a job that is over, whose client does not come back for it."""
        self._runs.pop(_name(run.key.client, run.request.envelope), None)

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

    def _ended(self, task: asyncio.Task[None], names: tuple[str, str]) -> None:
        self._tasks.discard(task)
        self._live -= Counter(names)


def _peer_name(peer: PeerId) -> str:
    return f"peer {peer}"


def _address_name(origin: str) -> str:
    return f"address {origin}"


def _name(peer: PeerId, envelope: Envelope) -> tuple[PeerId, bytes]:
    return peer, hashlib.sha256(envelope.body).digest()
