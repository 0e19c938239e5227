"""A pull worker's relation to its tracker: registration, token, heartbeats, and the calls that belong to jobs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from gpunode_protocol import jobs_api as api
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import Registration

from gpunode_node.bell import Bell
from gpunode_node.network_state import NetworkState
from gpunode_node.pull.worker_client import WorkerClient
from gpunode_node.pull.worker_file import WorkerFile, WorkerPass
from gpunode_node.registered_contact import RegisteredContact, pause_s

logger = logging.getLogger(__name__)

LOST_STATUSES: Final = frozenset({403, 404, 409, 410})
"""Answers that say: the job is another's by now, has ended, or is forgotten."""
BYTES_PER_GB: Final = 10**9


@dataclass(frozen=True, kw_only=True)
class WorkerDescription:
    """What a registration says of this worker. gpu_memory_bytes: of all cards of the model."""

    name: str = ""
    region: Region | None = None
    country: str = ""
    gpu_model: str = ""
    gpu_memory_bytes: int = 0
    tasks: tuple[Task, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorkerVitals:
    """What a heartbeat says. holding: attempts by job id, whose leases it renews. polling: see ``WorkerHeartbeat``."""

    status: api.WorkerStatusName = "online"
    gpu_info: api.GpuInfo = field(default_factory=api.GpuInfo)
    tasks: tuple[Task, ...] = ()
    models: tuple[str, ...] = ()
    holding: dict[str, int] = field(default_factory=dict)
    polling: bool | None = None


class WorkerLink(RegisteredContact[WorkerPass]):
    """Keeps the worker registered and its leases in force.

    Args:
        client: of the tracker.
        identity: the worker's key, which signs what it did and gets its earnings.
        state: learns of newer keys, revocations and prices.
        file: where id and token are kept.
        unix_time: seconds.
    """

    def __init__(
        self,
        client: WorkerClient,
        identity: Identity,
        state: NetworkState,
        file: WorkerFile,
        unix_time: Callable[[], float],
    ) -> None:
        super().__init__(client, identity, state, file.load(), unix_time)
        self._client: WorkerClient = client
        self._file = file
        self._description = WorkerDescription()
        self._hurry = Bell()
        self.maintenance = False  #: the tracker's operator lets it get no jobs
        self.on_lost: Callable[[str], None] = lambda _job_id: None  #: told of jobs that it does not hold any more

    @property
    def worker_id(self) -> str | None:
        """Its id at the tracker; None before it has registered once."""
        return self._given.worker_id if self._given else None

    @property
    def region(self) -> Region | None:
        """Where the tracker has it; None before it has registered once."""
        return self._given.region if self._given else None

    def describe(self, description: WorkerDescription) -> None:
        """Say what the next registration tells of this worker."""
        self._description = description

    async def register(self) -> WorkerPass:
        """Prove possession of the key; get an id and a token.

        Raises:
            TrackerUnreachable, TrackerRefused: not registered.
        """
        with self._noting_problems():
            challenge = await self._client.challenge()
            description = self._description
            proof = Registration(
                network=self._state.view.trust.network,
                peer=self._identity.peer_id,
                challenge=challenge.challenge,
                name=description.name,
                region=description.region,
                country=description.country,
                gpu_model=description.gpu_model,
                gpu_memory_mb=description.gpu_memory_bytes // 1024**2,
                supported_tasks=description.tasks,
            )
            given = await self._client.enlist(
                api.WorkerRegistration(
                    name=description.name,
                    region=description.region,
                    country=description.country,
                    gpu_model=description.gpu_model,
                    gpu_memory_gb=round(description.gpu_memory_bytes / BYTES_PER_GB, 2),
                    supported_types=description.tasks,
                    models=description.models,
                    registration=sign(self._identity, proof).envelope,
                )
            )
            self._given = WorkerPass(given.worker_id, given.token, Region(given.region))
            self._file.save(self._given)
        logger.info("registered", extra={"event": "registered", "worker_id": given.worker_id})
        return self._given

    # What belongs to jobs

    async def next_job(self, wait_s: int, on_answer: Callable[[], None]) -> api.NextJob:
        """Return a job to do, or why there was none within ``wait_s`` seconds. Raises as ``register``.

        Args:
            on_answer: called when the answer begins to come.
        """
        with self._noting_problems():
            return await self._with_given(
                lambda own: self._client.next_job(own.worker_id, own.token, wait_s, on_answer)
            )

    async def tell(self, job_id: str, event: api.WorkerEvent) -> None:
        """Tell how a job goes. Raises as ``register``; with status 404 or 409 it is lost."""
        await self._with_given(lambda own: self._client.tell(job_id, own.token, event))

    async def complete(self, job_id: str, body: bytes) -> api.CompletionReply:
        """Deliver a job's end. Raises as ``register``; with status 404 or 409 it is lost."""
        return await self._with_given(lambda own: self._client.complete(job_id, own.token, body))

    # Heartbeats

    async def run(self, vitals: Callable[[], Awaitable[WorkerVitals]], interval_s: Callable[[], float]) -> None:
        """Send heartbeats for ever; a failed one again soon, but ever more slowly.

        Args:
            vitals: what they say.
            interval_s: how long after a heartbeat the next one is due; looked at again after ``hurry``.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began_at = loop.time()
            failures = 0 if await self.beat(await vitals()) else failures + 1
            while True:
                due_at = began_at + pause_s(failures, interval_s())
                if not await self._hurry.wait(max(0.0, due_at - loop.time())):
                    break

    def hurry(self) -> None:
        """Say that heartbeats may be due sooner: a job came."""
        self._hurry.ring()

    async def beat(self, vitals: WorkerVitals) -> bool:
        """Send one heartbeat and take what comes back; return whether the tracker answered."""
        body = api.WorkerHeartbeat(
            status=vitals.status,
            gpu_info=vitals.gpu_info,
            supported_types=vitals.tasks or None,
            models=vitals.models if vitals.tasks else None,
            holding=vitals.holding,
            polling=vitals.polling,
        )
        try:
            with self._noting_problems():
                asked_at = self._unix_time()
                reply = await self._with_given(lambda own: self._client.beat(own.worker_id, own.token, body))
                self._compare_clocks(asked_at, reply.time)
                self._take(reply)
                await self._refresh_network()
        except GpunodeError:
            return False
        return True

    def _take(self, reply: api.WorkerHeartbeatReply) -> None:
        if reply.maintenance != self.maintenance:
            logger.info(
                "the operator %s", "gives this worker no jobs" if reply.maintenance else "gives this worker jobs again"
            )
        self.maintenance = reply.maintenance
        for job_id in reply.lost:
            self.on_lost(job_id)
