"""The node's relation to its tracker: registration, heartbeats, settlement. Never on the way of a job."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import (
    HEARTBEAT_INTERVAL_S,
    HeartbeatReply,
    HeartbeatRequest,
    Registration,
    RoundTrip,
    SettlementBatch,
    SettlementReply,
)

from gpunode_node.credentials import Credentials, CredentialsFile
from gpunode_node.errors import TrackerUnreachable
from gpunode_node.ledger_watch import LedgerWatch, watch_quietly
from gpunode_node.network_state import NetworkState
from gpunode_node.registered_contact import RegisteredContact, pause_s
from gpunode_node.tracker_client import TrackerClient

logger = logging.getLogger(__name__)

PLACE_DOUBTFUL = (
    "Other nodes get answers from this one sooner than light could bring them from where it says that it is. Clients "
    "may leave it out for that. Start it with its true --region, --latitude and --longitude."
)


@dataclass(frozen=True, kw_only=True)
class SelfDescription:
    """What the registration says of this node. gpu_memory_mb: MiB of all cards."""

    name: str = ""
    region: Region | None = None
    country: str = ""
    gpu_model: str = ""
    gpu_memory_mb: int = 0
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What a heartbeat says. memory: MiB of the machine. paused: it takes no jobs until its owner is done.

    round_trips: to other nodes, the newest.
    """

    adverts: tuple[Envelope, ...] = ()
    busy: bool = False
    paused: bool = False
    memory_used_mb: int = 0
    memory_total_mb: int = 0
    round_trips: tuple[RoundTrip, ...] = ()


class TrackerLink(RegisteredContact[Credentials]):
    """Keeps the node registered and its picture of the network fresh.

    Args:
        client: of the tracker.
        identity: the node's key.
        state: learns of newer keys, revocations and prices.
        file: where token and certificate are kept.
        watch: checks the ledger's heads.
        unix_time: seconds.
    """

    def __init__(
        self,
        client: TrackerClient,
        identity: Identity,
        state: NetworkState,
        file: CredentialsFile,
        watch: LedgerWatch,
        unix_time: Callable[[], float],
    ) -> None:
        super().__init__(client, identity, state, file.load(), unix_time)
        self._file = file
        self._description = SelfDescription()
        self.place_problem = ""  #: why others doubt where this node says that it is, empty when they do not
        self.watch = watch

    @property
    def credentials(self) -> Credentials | None:
        """Token and certificate, of this run or an earlier one."""
        return self._given

    def describe(self, description: SelfDescription) -> None:
        """Say what the next registration tells of this node."""
        self._description = description

    async def register(self) -> Credentials:
        """Prove possession of the key; get a token and a certificate.

        Raises:
            TrackerUnreachable, TrackerRefused: not registered. Untrusted, ProtocolError: a bad certificate.
        """
        with self._noting_problems():
            return await self._register()

    async def _register(self) -> Credentials:
        challenge = await self._client.challenge()
        description = self._description
        registration = Registration(
            network=self._state.view.trust.network,
            peer=self._identity.peer_id,
            challenge=challenge.challenge,
            name=description.name,
            region=description.region,
            country=description.country,
            gpu_model=description.gpu_model,
            gpu_memory_mb=description.gpu_memory_mb,
            supported_tasks=description.tasks,
        )
        reply = await self._client.register(sign(self._identity, registration).envelope)
        credentials = Credentials(reply.token, reply.certificate, description.region or reply.region, reply.seen)
        self._keep(credentials)
        logger.info("registered", extra={"event": "registered", "peer_id": self._identity.peer_id})
        return credentials

    async def run(self, vitals: Callable[[], Vitals], interval_s: float = HEARTBEAT_INTERVAL_S) -> None:
        """Send heartbeats for ever, every ``interval_s`` seconds; a failed one again soon, but ever more slowly."""
        failures = 0
        while True:
            failures = 0 if await self.beat(vitals()) else failures + 1
            await asyncio.sleep(pause_s(failures, interval_s))

    async def beat(self, vitals: Vitals, *, leaving: bool = False) -> bool:
        """Send one heartbeat and take what comes back; return whether the tracker answered."""
        status: Literal["online", "busy", "offline"] = "busy" if vitals.busy else "online"
        body = HeartbeatRequest(
            status="offline" if leaving or vitals.paused else status,
            adverts=vitals.adverts,
            memory_used_mb=vitals.memory_used_mb,
            memory_total_mb=vitals.memory_total_mb,
            round_trips=vitals.round_trips,
        )
        peer = self._identity.peer_id
        try:
            with self._noting_problems():
                asked_at = self._unix_time()
                reply = await self._with_given(lambda own: self._client.heartbeat(peer, own.token, body))
                self._compare_clocks(asked_at, reply.time)
                self._take(reply)
                if reply.head is not None and not leaving:
                    await watch_quietly(self.watch, self._state.view.trust, reply.head)
                if not leaving:
                    await self._refresh_network()
        except GpunodeError:
            return False
        return True

    async def settle(self, batch: SettlementBatch) -> SettlementReply:
        """Submit vouchers and receipts. Raises TrackerUnreachable or TrackerRefused."""
        return await self._with_given(lambda own: self._client.settle(own.token, batch))

    def _take(self, reply: HeartbeatReply) -> None:
        self._state.accept_heartbeat(reply)
        for reason in reply.adverts_refused:
            logger.warning("the tracker refused an advert: %s", reason, extra={"event": "advert_refused"})
        if reply.place_doubtful and not self.place_problem:
            logger.warning("%s", PLACE_DOUBTFUL, extra={"event": "place_doubtful"})
        self.place_problem = PLACE_DOUBTFUL if reply.place_doubtful else ""
        if reply.certificate is not None and self._given is not None:
            with contextlib.suppress(GpunodeError):  # the old one goes on counting until it expires
                self._keep(replace(self._given, certificate=reply.certificate))

    def _keep(self, credentials: Credentials) -> None:
        """Check the certificate against the network's keys, then use and store it."""
        certificate = self._state.view.trust.open_certificate(credentials.certificate, now=self._unix_time())
        if certificate.body.peer != self._identity.peer_id:
            raise TrackerUnreachable("The tracker's certificate is for another node.")
        self._given = credentials
        self._file.save(credentials)
