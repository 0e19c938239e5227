"""A tracker with a real database, scripted nodes in a mesh in memory, and jobs in its queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gpunode._session import Session
from gpunode._surroundings import Surroundings
from gpunode_protocol.adverts import Gpu, ModelAdvert
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.jobs_api import LEASE_S, JobEventName, JobSubmission
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import Registration
from gpunode_tracker.dispatch.abilities import Abilities
from gpunode_tracker.dispatch.dispatched_job import DispatchedJob, Surrounds
from gpunode_tracker.dispatch.dispatcher import Dispatcher
from gpunode_tracker.dispatch.look import NodeLook
from gpunode_tracker.dispatch.session import open_session
from gpunode_tracker.entries import Bookkeeper, account_name, node_name, reserved_name
from gpunode_tracker.jobs.job import Lease, StoredJob, dispatch_holder
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import Account, add_account
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.storage.jobs import claim_job, find_job
from gpunode_tracker.tracker import Tracker

from tests.sdk.memory_mesh import MemoryMesh, MemoryNetwork, MemoryStream
from tests.sdk.scripted_node import FINGERPRINT, ScriptedNode
from tests.sdk.world import SPEED
from tests.tracker.parties import MODEL, advert

REPLICA = "here"
HELLO = [{"role": "user", "content": "What is the capital of France?"}]
GIVEN = 1_000_000_000
"""Micro-credits of the account that submits."""
PROMPT_TOKENS = 7
ANSWER_COST = 10 * PROMPT_TOKENS + 30 * 4
"""What a scripted node's whole answer of four tokens costs, micro-credits."""


@dataclass
class MeshWorld:
    """The parties. ``words``: what was told of any job."""

    tracker: Tracker
    mesh: MemoryNetwork = field(default_factory=MemoryNetwork)
    nodes: list[ScriptedNode] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    account: Account = field(default_factory=lambda: Account("a0", "test", promotional=False))
    resume_for_s: float = 5.0

    async def open(self) -> None:
        """Make the account, listen to the news, and let real seconds pass between a node's answer and the next."""
        self.tracker.monotonic = time.monotonic
        self.tracker.news.on_word = self.words.append
        entry = Bookkeeper(self.tracker.keys.network, self.tracker.now).issue(self.account.id, GIVEN)
        async with self.tracker.database.write() as connection:
            await add_account(connection, self.account, created_at=self.tracker.now)
            await ledger.append(connection, entry)

    # Nodes

    async def add_node(
        self,
        region: Region = Region.EUROPE,
        *,
        task: Task = Task.LLM,
        model: str = MODEL,
        memory_mb: int = 0,
        **script: Any,
    ) -> ScriptedNode:
        """Register a node and let it serve and advertise a model."""
        tracker = self.tracker
        identity = Identity.from_seed(bytes([10 + len(self.nodes)]) * 32)
        challenge, _ = tracker.challenges.new()
        registration = Registration(network=tracker.keys.network, peer=identity.peer_id, challenge=challenge)
        registered = await tracker.registrar.register(
            tracker.keys, sign(identity, registration).envelope, seen=None, now=tracker.now
        )
        node = ScriptedNode(identity, tracker.keys.trust, clock=tracker.clock, **script)
        self.mesh.handlers[node.peer_id, PROBE_PROTOCOL] = node.serve_probe

        async def serve_job(stream: MemoryStream) -> None:
            node.active += 1
            try:
                await node.serve_job(stream)
            finally:
                node.active -= 1

        self.mesh.handlers[node.peer_id, JOB_PROTOCOL] = serve_job
        told = advert(
            identity,
            registered.certificate,
            tracker.keys.network,
            region=region,
            gpu=Gpu(model="", count=1, memory_mb=memory_mb),
            model=ModelAdvert(name=model, task=task, fingerprint=FINGERPRINT, speed=SPEED, context=4096, slots=4),
            expires_at=tracker.now + 150,
        )
        self.mesh.announce(told)
        self.nodes.append(node)
        tracker.index.update(told, tracker.clock())
        return node

    def surroundings(self) -> Surroundings:
        """Return what the tracker's client takes from outside."""
        return Surroundings(
            create_mesh=lambda config, validator: MemoryMesh(self.mesh, config, validator, self.tracker.clock),
            random=Random(1),
            resume_for_s=self.resume_for_s,
        )

    # Jobs

    async def submit(self, **changes: Any) -> StoredJob:
        """Queue a job, a millisecond after the one before."""
        self.tracker.clock.advance(0.001)  # type: ignore[attr-defined]  # -- the tests' clock
        client_region = changes.pop("client_region", None)
        fields: dict[str, Any] = {"type": Task.LLM, "params": {"messages": HELLO, "max_tokens": 100}} | changes
        return await self.tracker.desk.submit(
            self.account, "k1", JobSubmission(**fields), address="203.0.113.5", region=client_region
        )

    async def find(self, job: StoredJob) -> StoredJob:
        """Return a job as it is now."""
        async with self.tracker.database.read() as connection:
            found = await find_job(connection, job.id)
        assert found is not None
        return found

    async def failures(self, job: StoredJob) -> list[str]:
        """Return why its attempts failed."""
        async with self.tracker.database.read() as connection:
            return await failures_of(connection, job.id)

    async def claim(self, job: StoredJob, holder: str = dispatch_holder(REPLICA)) -> tuple[StoredJob, Lease]:
        """Take a job from the queue."""
        async with self.tracker.database.write() as connection:
            taken = await claim_job(connection, holder, (job.lane,), now=self.tracker.now, lease_s=LEASE_S)
        assert taken is not None
        return taken, Lease(job_id=taken.id, holder=holder, attempt=taken.attempt)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Open the tracker's client."""
        session = open_session(self.tracker, self.surroundings())
        try:
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def taken(self, job: StoredJob) -> AsyncIterator[DispatchedJob]:
        """Take a job from the queue to send it."""
        async with self.session() as session:
            look = NodeLook(session, self.tracker.monotonic)
            around = Surrounds(self.tracker, session, look, self.live_regions)
            yield DispatchedJob(around, *await self.claim(job))

    def live_regions(self, lane: str) -> frozenset[Region]:
        """Return where nodes live that can do the jobs of a lane."""
        live = self.tracker.index.live(self.tracker.clock())
        return frozenset(Abilities.of(live, self.tracker.settings.default_models).nodes_for(lane).values())

    @asynccontextmanager
    async def dispatcher(self) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher."""
        dispatcher = Dispatcher(self.tracker, REPLICA, self.surroundings())
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            await dispatcher.stop()

    # What happens

    def told(self, job: StoredJob) -> list[tuple[str, dict[str, Any]]]:
        """Return what was told of a job, as names and data."""
        return [(word.name, dict(word.data)) for word in self.words if word.job_id == job.id]

    def text(self, job: StoredJob) -> str:
        """Return the text that its followers have got."""
        return "".join(data["text"] for name, data in self.told(job) if name == JobEventName.TOKENS)

    async def until(self, job: StoredJob, happened: Callable[[], bool]) -> None:
        """Wait until something has happened that is told of a job."""
        async with self.tracker.news.follow(job.id) as words, asyncio.timeout(20):
            while not happened():
                await words.get()

    async def until_done(self, *jobs: StoredJob) -> None:
        """Wait until jobs have ended."""
        for job in jobs:
            await self.until(job, lambda job=job: JobEventName.DONE in dict(self.told(job)))  # type: ignore[misc]  # -- a lambda's default is not inferred

    # Money

    async def balance(self, account: str) -> int:
        """Return a ledger account's balance, micro-credits."""
        async with self.tracker.database.read() as connection:
            return await ledger.balance(connection, account)

    async def spent(self) -> int:
        """Return what the account has less than at first."""
        return GIVEN - await self.balance(account_name(self.account.id))

    async def reserved(self, job: StoredJob) -> int:
        """Return what is set aside for a job."""
        return await self.balance(reserved_name(job.jti or ""))

    async def earned(self, nodes: Sequence[ScriptedNode] | None = None) -> int:
        """Return what nodes have earned, all of them if none are named."""
        peers: list[PeerId] = [node.peer_id for node in (self.nodes if nodes is None else nodes)]
        return sum([await self.balance(node_name(peer)) for peer in peers])
