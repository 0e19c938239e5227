"""A small network for the node's tests: a tracker's keys, a node with a fake engine, and clients in memory."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.delivery import Delivery
from gpunode_node.job_intake import JobIntake
from gpunode_node.job_registry import JobRegistry
from gpunode_node.job_services import JobServices, NetworkView
from gpunode_node.job_session import JobStreams
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.outbox import Outbox, OutboxItem
from gpunode_node.served_model import ServedModel
from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.prices import DEFAULT_PRICES, MICROCREDITS_PER_CREDIT
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import Trust

from tests.engines.fake_engine import FakeEngine
from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.memory_stream import MemoryStream, stream_pair

EPOCH = 1_800_000_000
"""Unix seconds at which the tests' clock starts."""

EXPOSURE_MICROCREDITS = 50 * MICROCREDITS_PER_CREDIT
"""What the tests' node risks for one open grant."""

ROOT = Identity.from_seed(b"\x01" * 32)
TRACKER = Identity.from_seed(b"\x02" * 32)
NODE = Identity.from_seed(b"\x03" * 32)
CLIENT = Identity.from_seed(b"\x04" * 32)
OTHER = Identity.from_seed(b"\x05" * 32)

NETWORK = network_id_of(ROOT.public_key)
KID = key_id_of(TRACKER.public_key)
KEYSET = sign(
    ROOT,
    KeySet(
        network=NETWORK,
        sequence=1,
        issued_at=EPOCH - 10_000,
        keys=(TrackerKey(kid=KID, public_key=TRACKER.public_key, not_before=EPOCH - 10_000),),
    ),
)
TRUST = Trust.from_keyset(ROOT.public_key, KEYSET.envelope)
_numbers = itertools.count(1)


def revocations(*grants: str, sequence: int = 1, certificates: tuple[str, ...] = ()) -> Signed[Revocations]:
    """Return a signed list of revoked grants and certificates."""
    return sign(
        TRACKER,
        Revocations(
            network=NETWORK, sequence=sequence, issued_at=EPOCH, grants=grants, certificates=certificates, kid=KID
        ),
    )


def grant(**changes: Any) -> Grant:
    """Return a grant of 10 credits for the client, valid for an hour."""
    fields: dict[str, Any] = {
        "iss": audience(NETWORK),
        "aud": audience(NETWORK),
        "sub": "subject",
        "jti": "grant-1",
        "iat": EPOCH,
        "exp": EPOCH + 3600,
        "cnf": Confirmation(peer=CLIENT.peer_id),
        "tasks": tuple(Task),
        "jobs": 16,
        "price": 1,
        "cap": Cap(open=10_000_000),
    }
    return Grant(**fields | changes)


def token(claims: Grant, signer: Identity = TRACKER, kid: str = KID) -> str:
    """Return the signed token of a grant."""
    return issue_grant(claims, signer=signer, kid=kid)


def job_id(number: int) -> str:
    """Return a job id with a number in it."""
    return f"01890000-0000-7000-8000-{number:012x}"


def llm_params(**changes: Any) -> dict[str, Any]:
    """Return the parameters of a chat completion as they are signed."""
    params = {"messages": ({"role": "user", "content": "hello"},), "max_tokens": 16, "temperature_millionths": 0}
    return params | changes


def request(signer: Identity = CLIENT, grant_token: str | None = None, **changes: Any) -> Signed[JobRequest]:
    """Return a signed request for the node's fake model; ``changes`` replace fields."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "job": job_id(next(_numbers)),
        "segment": 0,
        "client": signer.peer_id,
        "node": NODE.peer_id,
        "grant": grant_token or token(grant(cnf=Confirmation(peer=signer.peer_id))),
        "issued_at": EPOCH,
        "deadline_at": EPOCH + 1_000,
        "task": Task.LLM.value,
        "model": "fake",
        "params": llm_params(),
        "salt": b"s" * 32,
    }
    return sign(signer, JobRequest(**fields | changes))


@dataclass
class Node:
    """The parts of a node that serve jobs, on a fake engine."""

    engine: FakeEngine | FakeMediaEngine
    model: ServedModel
    services: JobServices
    registry: JobRegistry
    intake: JobIntake
    view: dict[str, Any]
    nudges: list[float] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.streams = JobStreams(self.intake)

    @property
    def outbox(self) -> Outbox:
        """Where vouchers go."""
        return self.services.outbox

    def connect(self, client: PeerId = CLIENT.peer_id, capacity_bytes: int = 65_536) -> MemoryStream:
        """Open a stream to the node and return the client's end."""
        ours, theirs = stream_pair(client, NODE.peer_id, capacity_bytes)
        task = asyncio.create_task(self.streams.serve(theirs))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return ours

    async def unsettled(self) -> list[OutboxItem]:
        """Return what the outbox has for the tracker."""
        assert await self.outbox.write_pending()
        return await self.outbox.ready(100)

    async def close(self) -> None:
        """End everything."""
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self.registry.close()
        await self.services.desk.close()
        await self.services.outbox.close()
        await self.engine.stop()


@contextlib.asynccontextmanager
async def running_node(
    folder: Path,
    engine: FakeEngine | FakeMediaEngine | None = None,
    *,
    queue_limit: int = 4,
    exposure_microcredits: int = EXPOSURE_MICROCREDITS,
    delivery: Delivery = Delivery.STREAM,
) -> AsyncIterator[Node]:
    """A node whose clock starts at ``EPOCH``; its databases stay in the folder."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()

    def unix_time() -> float:
        return EPOCH + loop.time() - started_at

    engine = engine or FakeEngine(answer="Paris is the capital of France.")
    await engine.start()
    model = ServedModel("fake", engine, await engine.measure_speed(), queue_limit)
    desk = AdmissionDesk(folder / "admission.db", NODE.peer_id, exposure_microcredits)
    outbox = Outbox(folder / "outbox.db")
    await desk.open(unix_time())
    await outbox.open()
    view: dict[str, Any] = {"view": NetworkView(trust=TRUST, revocations=revocations().body, prices=DEFAULT_PRICES)}
    nudges: list[float] = []
    services = JobServices(
        identity=NODE,
        network=lambda: view["view"],
        desk=desk,
        outbox=outbox,
        memory=MemoryWatch(1, lambda: 0),
        outbox_ready=lambda: nudges.append(loop.time()),
        delivery=delivery,
        unix_time=unix_time,
    )
    registry = JobRegistry()
    node = Node(engine, model, services, registry, JobIntake(services, registry, [model]), view, nudges)
    try:
        yield node
    finally:
        await node.close()
