"""Who is there now: the live state of the pull workers, in memory. ``PresenceStore``s carry it to other trackers.

Silence is measured on a monotonic clock, so that a wall clock that jumps makes nobody appear or vanish.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gpunode_protocol.jobs_api import LEASE_S, WorkerHeartbeat

from gpunode_tracker.workers.signs import SignOfLife
from gpunode_tracker.workers.statistics import Statistics
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus

SILENT_S: Final = 150.0
"""A worker without a job is off after this long: two heartbeats a minute apart may be lost, as with nodes."""
SILENT_WITH_JOB_S: Final = float(LEASE_S)
"""One with a job has lost it by then."""
WRITE_INTERVAL_S: Final = 30.0
"""A worker that only goes on living is written to the database this often; what changes is written at once."""
TOLD_WRITE_INTERVAL_S: Final = 90.0
"""The same while other trackers are told faster. With the flush, a heartbeat and a reading on top it is within
``SILENT_S``: a tracker that looks into the database only, because the fast way is closed to it alone, loses nobody.
"""
TELL_INTERVAL_S: Final = 10.0
"""A worker that only goes on living is told of this often: one that sends tokens is heard many times a second."""

COUNTS_LAST_S: Final = 1.0
MAX_LEAD_S: Final = 5.0
"""Replicas' clocks may differ by this much."""
# an enumeration's members are looked up by Python code, and these for every worker every few seconds
_ONLINE: Final = WorkerStatus.ONLINE
_BUSY: Final = WorkerStatus.BUSY
_OFFLINE: Final = WorkerStatus.OFFLINE
_WHOLE_SECONDS_S: Final = 1
"""What is lost of an instant on its way through the database."""


@dataclass(frozen=True, slots=True)
class Held:
    """A job that a worker holds.

    Args:
        attempt: number of its lease.
        since: monotonic seconds, when it got it or when that was found out.
        is_exact: whether it got it here, at that instant.
    """

    attempt: int
    since: float
    is_exact: bool = False


@dataclass(slots=True, eq=False)
class LiveWorker:
    """A worker of which this process knows that it lived lately.

    Args:
        stored: what the database has of it, and what it said since.
        heard_at: monotonic seconds of its newest sign of life, here or at another replica.
        is_heard_here: which of both; another replica's word is its own to write.
        stated: its own word. is_leaving: that was goodbye, in a heartbeat.
        holding: the jobs that it has, by id.
        released: when it was noted here that it has a job no more, monotonic seconds by id; for the next reading.
        ban: why it was shut out, None if it was not.
        amended_at: monotonic seconds of the newest change that was made here.
        is_lost: it was silent until a lease went, and was not heard since.
        written_at: monotonic seconds of its last sign of life that went to the database.
        told_at: the same of the faster way to other trackers.
        lease_s: silent for so long while it holds a job, it has lost it.
        polls_left: how often it said that it asks for no job; whoever asked before that is not there any more.
    """

    stored: StoredWorker
    heard_at: float
    stated: WorkerStatus
    holding: dict[str, Held] = field(default_factory=dict)
    released: dict[str, float] = field(default_factory=dict)
    ban: str | None = None
    is_heard_here: bool = False
    amended_at: float = float("-inf")
    is_lost: bool = False
    written_at: float = float("-inf")
    told_at: float = float("-inf")
    written_status: WorkerStatus = WorkerStatus.OFFLINE
    lease_s: float = SILENT_WITH_JOB_S
    polls_left: int = 0
    is_leaving: bool = False

    @property
    def id(self) -> str:
        """Its id."""
        return self.stored.id

    @property
    def may_work(self) -> bool:
        """Whether it is to be given jobs."""
        return self.ban is None and not self.stored.maintenance

    def status_at(self, now: float) -> WorkerStatus:
        """Return whether it is there. now: monotonic seconds."""
        patience_s = self.lease_s if self.holding else SILENT_S
        if self.is_lost or self.stated is _OFFLINE or now - self.heard_at > patience_s:
            return _OFFLINE
        return _BUSY if self.holding or self.stated is _BUSY else _ONLINE


class Presence:
    """The live workers of this process, and what is to be written of them.

    Args:
        monotonic: seconds.
        clock: Unix seconds.
        lease_s: of the settings.
    """

    def __init__(
        self, monotonic: Callable[[], float], clock: Callable[[], float], *, lease_s: float = SILENT_WITH_JOB_S
    ) -> None:
        self.monotonic = monotonic
        self.clock = clock
        self.on_sign: Callable[[str], None] = _ignore  # called with a worker of which there is something to tell
        self.is_told: Callable[[], bool] = _never  # whether other trackers hear of it without the database now
        self._lease_s = lease_s
        self._workers: dict[str, LiveWorker] = {}
        self._changed: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._counted_at = float("-inf")

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._workers)

    def __iter__(self) -> Iterator[LiveWorker]:
        """Yield all that are remembered."""
        return iter(list(self._workers.values()))

    def find(self, worker_id: str) -> LiveWorker | None:
        """Return a worker that this process knows."""
        return self._workers.get(worker_id)

    def status_of(self, worker_id: str) -> WorkerStatus:
        """Return whether a worker is there; one that is not known here has been silent for long."""
        live = self._workers.get(worker_id)
        return WorkerStatus.OFFLINE if live is None else live.status_at(self.monotonic())

    def live(self) -> list[LiveWorker]:
        """Return the workers that are there, those in maintenance too."""
        now = self.monotonic()
        return [worker for worker in self._workers.values() if worker.status_at(now) is not WorkerStatus.OFFLINE]

    def by_region(self) -> Mapping[str, int]:
        """Return how many are there in each region, as of a second ago at most."""
        now = self.monotonic()
        if not 0 <= now - self._counted_at < COUNTS_LAST_S:
            self._counts, self._counted_at = Counter(worker.stored.region for worker in self.live()), now
        return self._counts

    # What is heard

    def meet(
        self, stored: StoredWorker, held: Mapping[str, int], *, ban: str | None = None, read_at: float
    ) -> LiveWorker:
        """Remember what was read of a worker; what is known here of its life, and what was changed since, stays.

        Args:
            held: numbers of its attempts by job.
            ban: why it was shut out.
            read_at: monotonic seconds, before it was read.
        """
        known, heard_at = self._workers.get(stored.id), self._heard_at(stored.last_heartbeat)
        if known is None:
            known = LiveWorker(stored, heard_at, stored.status, written_status=stored.status, lease_s=self._lease_s)
            self._workers[stored.id] = known
        elif heard_at > known.heard_at + _WHOLE_SECONDS_S:
            known.stored, known.heard_at, known.stated = stored, heard_at, stored.status
            known.is_heard_here = known.is_lost = False
        elif known.amended_at < read_at and stored is not known.stored:
            known.stored = replace(known.stored, statistics=stored.statistics, maintenance=stored.maintenance)
        known.ban = ban
        self._hold_exactly(known, held, read_at)
        return known

    def knows_less(self, worker_id: str, last_heartbeat: int) -> bool:
        """Return whether the database knows more of a worker: it was heard at another replica, Unix seconds."""
        known = self._workers.get(worker_id)
        return known is None or self._heard_at(last_heartbeat) > known.heard_at + _WHOLE_SECONDS_S

    def hear(self, worker: LiveWorker) -> None:
        """Note a sign of life. Who was off is back, unless it said goodbye: it may be ending what it holds."""
        worker.heard_at, worker.is_heard_here = self.monotonic(), True
        was_lost, worker.is_lost = worker.is_lost, False
        if worker.stated is _OFFLINE and not worker.is_leaving:
            worker.stated = WorkerStatus.ONLINE
            self._touch(worker)
        elif was_lost or worker.heard_at - worker.written_at >= self._write_interval_s(worker):
            self._touch(worker)
        elif worker.heard_at - worker.told_at >= TELL_INTERVAL_S:
            self.on_sign(worker.id)

    def asks(self, worker: LiveWorker) -> None:
        """Note that a worker asks for a job: it is there, also if it had said goodbye."""
        worker.is_leaving = False
        self.hear(worker)

    def hear_elsewhere(self, sign: SignOfLife) -> None:
        """Note what another tracker heard of a worker, if it is the newest word. Who is unknown here stays so."""
        worker = self._workers.get(sign.id)
        if worker is None:
            return
        heard_at = self._heard_at(sign.last_heartbeat)
        newer_s = heard_at - worker.heard_at
        # a change between two heartbeats is told with the instant of the first
        is_newest = newer_s > _WHOLE_SECONDS_S or (not worker.is_heard_here and newer_s >= -_WHOLE_SECONDS_S)
        if not is_newest:
            return
        worker.heard_at, worker.stated = max(heard_at, worker.heard_at), sign.status
        worker.is_heard_here = worker.is_lost = False
        worker.is_leaving = sign.status is _OFFLINE
        stored, types, models = worker.stored, tuple(sign.supported_types), tuple(sign.models)
        said = (sign.gpu_memory_gb, sign.memory_used_gb, types, models)
        if said != (stored.gpu_memory_gb, stored.memory_used_gb, tuple(stored.supported_types), tuple(stored.models)):
            worker.stored = replace(
                stored,
                gpu_memory_gb=sign.gpu_memory_gb,
                memory_used_gb=sign.memory_used_gb,
                supported_types=types,
                models=models,
            )

    def beat(self, worker: LiveWorker, heartbeat: WorkerHeartbeat) -> None:
        """Note a heartbeat."""
        self.hear(worker)
        gpu, stored, status = heartbeat.gpu_info, worker.stored, WorkerStatus(heartbeat.status)
        types = stored.supported_types if heartbeat.supported_types is None else heartbeat.supported_types
        models = stored.models if heartbeat.models is None else heartbeat.models
        memory_gb = gpu.memory_total or stored.gpu_memory_gb
        # most heartbeats say nothing new, and there are many
        said = (memory_gb, gpu.memory_used, types, models)
        if said != (stored.gpu_memory_gb, stored.memory_used_gb, stored.supported_types, stored.models):
            worker.stored = replace(
                stored,
                gpu_memory_gb=memory_gb,
                memory_used_gb=gpu.memory_used,
                supported_types=tuple(str(each) for each in types),
                models=models,
            )
            self._touch(worker)
        worker.is_leaving = status is _OFFLINE
        if status is not worker.stated:
            worker.stated = status
            self._touch(worker)

    def hold(self, worker_id: str, job_id: str, attempt: int, *, is_exact: bool = True) -> None:
        """Note that a worker has a job. is_exact: it got it just now."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.released.pop(job_id, None)
            worker.holding[job_id] = Held(attempt, self.monotonic(), is_exact)
            self._touch(worker)

    def release(self, worker_id: str, job_id: str) -> Held | None:
        """Note that a worker has a job no more; return what was known of it."""
        worker = self._workers.get(worker_id)
        if worker is None:
            return None
        worker.released[job_id] = self.monotonic()
        held = worker.holding.pop(job_id, None)
        if held is not None:
            self._touch(worker)
        return held

    def lose(self, worker_id: str, job_id: str) -> None:
        """Note that a silent worker's lease went: it counts as gone until it is heard again."""
        self.release(worker_id, job_id)
        worker = self._workers.get(worker_id)
        if worker is not None and self.monotonic() - worker.heard_at >= self._lease_s:
            worker.is_lost = True

    def amend(self, worker_id: str, *, statistics: Statistics | None = None, maintenance: bool | None = None) -> None:
        """Note what was written to the database of a worker."""
        worker = self._workers.get(worker_id)
        if worker is None:
            return
        worker.amended_at = self.monotonic()
        if statistics is not None:
            worker.stored = replace(worker.stored, statistics=statistics)
        if maintenance is not None:
            worker.stored = replace(worker.stored, maintenance=maintenance)

    def forget(self, worker_id: str) -> None:
        """Forget a worker that left."""
        self._workers.pop(worker_id, None)
        self._changed.discard(worker_id)

    # What goes to other trackers

    def sign_of(self, worker: LiveWorker) -> SignOfLife:
        """Return what is to be told of a worker now."""
        stored = worker.stored
        return SignOfLife(
            id=worker.id,
            status=worker.status_at(self.monotonic()),
            last_heartbeat=self.heard_at_unix(worker),
            gpu_memory_gb=stored.gpu_memory_gb,
            memory_used_gb=stored.memory_used_gb,
            supported_types=stored.supported_types,
            models=stored.models,
        )

    def take_signs(self, ids: Iterable[str]) -> list[SignOfLife]:
        """Return what is to be told of those of some workers that were heard here; they count as told."""
        now, signs = self.monotonic(), []
        for worker_id in ids:
            worker = self._workers.get(worker_id)
            if worker is not None and worker.is_heard_here:
                worker.told_at = now
                signs.append(self.sign_of(worker))
        return signs

    def take_changes(self) -> list[LiveWorker]:
        """Return the workers that are to be written; they count as written."""
        now = self.monotonic()
        for worker in self._workers.values():
            if worker.status_at(now) is not worker.written_status:
                self._changed.add(worker.id)
        changed = [worker for worker in map(self._workers.__getitem__, self._changed) if worker.is_heard_here]
        self._changed.clear()
        for worker in changed:
            worker.written_at, worker.written_status = now, worker.status_at(now)
        return changed

    def rewrite(self) -> None:
        """Let everybody who is there be written anew: the instants in the database are of a clock that jumped."""
        self._changed.update(worker.id for worker in self.live())

    def put_back(self, changes: Iterable[LiveWorker]) -> None:
        """Keep changes that could not be written for the next time."""
        for worker in changes:
            self._touch(worker)

    def drop_silent(self) -> list[str]:
        """Forget workers that are off and whose last word is written; return their ids."""
        now = self.monotonic()
        gone = [
            worker.id
            for worker in self._workers.values()
            if now - worker.heard_at > SILENT_S and not worker.holding and worker.id not in self._changed
        ]
        for worker_id in gone:
            del self._workers[worker_id]
        return gone

    def heard_at_unix(self, worker: LiveWorker) -> int:
        """Return when a worker was heard, Unix seconds."""
        return int(self.clock() - max(0.0, self.monotonic() - worker.heard_at))

    def _hold_exactly(self, worker: LiveWorker, held: Mapping[str, int], read_at: float) -> None:
        """Note all jobs that a worker has by the database; what it got or gave back since that was read counts."""
        if not held and not worker.holding and not worker.released:
            return
        known = worker.holding
        worker.released = {job_id: at for job_id, at in worker.released.items() if at >= read_at}
        worker.holding = {
            job_id: known[job_id] if job_id in known and known[job_id].attempt == attempt else Held(attempt, read_at)
            for job_id, attempt in held.items()
            if job_id not in worker.released
        } | {job_id: job for job_id, job in known.items() if job.since >= read_at}
        if known.keys() != worker.holding.keys():
            self._touch(worker)

    def _touch(self, worker: LiveWorker) -> None:
        if self._workers.get(worker.id) is worker:
            self._changed.add(worker.id)
            self.on_sign(worker.id)

    def _write_interval_s(self, worker: LiveWorker) -> float:
        """Return how often the database hears of a worker; of one with a job as ever, whose lease is written anyway."""
        return TOLD_WRITE_INTERVAL_S if self.is_told() and not worker.holding else WRITE_INTERVAL_S

    def _heard_at(self, last_heartbeat: int | None) -> float:
        """Return when a worker of the database was heard, on this process's monotonic clock."""
        ago_s = SILENT_S + 1 if last_heartbeat is None else self.clock() - last_heartbeat
        if ago_s < -MAX_LEAD_S:  # the clock jumped back: that instant says nothing
            ago_s = SILENT_S + 1
        return self.monotonic() - max(0.0, ago_s)


def _ignore(_worker_id: str) -> None:
    """Nobody is to be told."""


def _never() -> bool:
    return False
