"""A small network for the client's tests: a tracker's keys, scripted nodes and a mesh in memory."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from gpunode import AsyncInferenceClient
from gpunode._surroundings import Surroundings
from gpunode.config import ClientConfig
from gpunode.errors import TrackerUnreachable
from gpunode_protocol import tracker_api as api
from gpunode_protocol.adverts import Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.certificates import Certificate, certificate_for
from gpunode_protocol.geography import REFERENCE_POINTS, distances_km
from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.prices import DEFAULT_PRICES, Price, PriceTable
from gpunode_protocol.regions import Region
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed, read_body, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import NodeIndex, Trust

from tests.sdk.memory_mesh import MemoryMesh, MemoryNetwork, MemoryStream
from tests.sdk.scripted_node import FINGERPRINT, ScriptedNode

EPOCH = 1_800_000_000
"""Unix seconds at which the tests' clock stands."""
MODEL = "smollm2-135m"
SPEED = Speed(input_milliunits_per_s=500_000, output_milliunits_per_s=50_000)
NO_SPEED = Speed(input_milliunits_per_s=0, output_milliunits_per_s=0)
TCP_ONLY = ("/ip4/127.0.0.1/tcp/4001",)
HELLO: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass
class Keys:
    """The keys of a network and what they sign."""

    root: Identity = field(default_factory=lambda: Identity.from_seed(b"\x01" * 32))
    signer: Identity = field(default_factory=lambda: Identity.from_seed(b"\x02" * 32))

    def __post_init__(self) -> None:
        self.network = network_id_of(self.root.public_key)
        self.kid = key_id_of(self.signer.public_key)
        self.keyset = self.keyset_of(sequence=1)
        self.trust = Trust.from_keyset(self.root.public_key, self.keyset.envelope)

    def keyset_of(self, sequence: int) -> Signed[KeySet]:
        """Return a signed key set."""
        key = TrackerKey(kid=self.kid, public_key=self.signer.public_key, not_before=EPOCH - 10_000)
        return sign(self.root, KeySet(network=self.network, sequence=sequence, issued_at=EPOCH - 10_000, keys=(key,)))

    def revocations(self, *certificates: str, sequence: int = 1) -> Signed[Revocations]:
        """Return a signed revocation list."""
        body = Revocations(
            network=self.network, sequence=sequence, issued_at=EPOCH, certificates=certificates, kid=self.kid
        )
        return sign(self.signer, body)

    def advert(
        self,
        node: Identity,
        *,
        model: str = MODEL,
        task: Task = Task.LLM,
        region: Region = Region.ASIA,
        speed: Speed = SPEED,
        **changes: Any,
    ) -> Signed[Advert]:
        """Return a node's signed advert."""
        certificate = certificate_for(node.peer_id, network=self.network, kid=self.kid, now=EPOCH - 100)
        fields: dict[str, Any] = {
            "network": self.network,
            "peer": node.peer_id,
            "certificate": sign(self.signer, certificate).envelope,
            "sequence": 1,
            "region": region,
            "gpu": Gpu(model="", count=0, memory_mb=0),
            "model": ModelAdvert(name=model, task=task, fingerprint=FINGERPRINT, speed=speed, context=4096, slots=4),
            "addresses": TCP_ONLY,
            "expires_at": EPOCH + 150,
        }
        return sign(node, Advert(**fields | changes))

    def index(self, *adverts: Signed[Advert], issued_at: int = EPOCH) -> api.NodesReply:
        """Return the tracker's signed index."""
        body = NodeIndex(
            network=self.network,
            issued_at=issued_at,
            adverts=tuple(advert.envelope for advert in adverts),
            kid=self.kid,
        )
        return api.NodesReply(index=sign(self.signer, body).envelope)

    def grant(self, request: api.GrantRequest, number: int, *, now: int = EPOCH, price: int = 1) -> api.GrantReply:
        """Return a grant as asked for."""
        grant = Grant(
            iss=audience(self.network),
            aud=audience(self.network),
            sub="subject",
            jti=f"grant-{number}",
            iat=now,
            exp=now + request.lifetime_s,
            cnf=Confirmation(peer=request.peer),
            tasks=tuple(request.tasks),
            jobs=request.jobs,
            price=price,
            cap=Cap(open=request.open_microcredits, nodes=request.nodes),
        )
        return api.GrantReply(
            grant=issue_grant(grant, signer=self.signer, kid=self.kid),
            jti=grant.jti,
            expires_at=grant.exp,
            reserved_microcredits=grant.reserved_microcredits,
        )

    def network_info(self, **changes: Any) -> api.NetworkInfo:
        """Return the tracker's network info."""
        fields: dict[str, Any] = {
            "network": self.network,
            "root_public_key": self.root.public_key,
            "keyset": self.keyset.envelope,
            "revocations": self.revocations().envelope,
            "bootstrap": (),
            "shard_bits": 0,
            "prices": DEFAULT_PRICES,
            "default_models": {"llm": MODEL},
            "time": EPOCH,
        }
        return api.NetworkInfo(**fields | changes)


def dearer(factor: float, *, version: int = 2) -> PriceTable:
    """Return the next prices: so many times the default ones."""
    price = DEFAULT_PRICES.tasks[Task.LLM]
    units = round(factor * price.input_microcredits), round(factor * price.output_microcredits)
    changed = Price(input_microcredits=units[0], output_microcredits=units[1])
    return PriceTable(version=version, tasks={**DEFAULT_PRICES.tasks, Task.LLM: changed})


def regions_reply(caller: api.CallerPlace | None = None, **nodes: int) -> api.RegionsReply:
    """Return the tracker's count of ``nodes`` by region; without a caller's place it has no database."""
    counts = [
        api.RegionCount(
            region=region,
            nodes=nodes.get(region, 0),
            models={MODEL: nodes[region]} if region in nodes else {},
            latitude=point.latitude,
            longitude=point.longitude,
            distances_km=distances_km(point),
        )
        for region, point in REFERENCE_POINTS.items()
    ]
    unknown: Any = None if caller else "no_database"
    return api.RegionsReply(regions=tuple(counts), caller=caller, caller_unknown=unknown)


@dataclass
class FakeTracker:
    """Answers as the tracker does, in memory; ``down`` makes it unreachable."""

    keys: Keys
    clock: Callable[[], float]
    url: str = "https://tracker.example"
    api_key: str | None = "key"
    down: bool = False
    info: api.NetworkInfo | None = None
    adverts: list[Signed[Advert]] = field(default_factory=list)
    spendable_microcredits: int = 1_000_000_000
    grants: list[api.GrantRequest] = field(default_factory=list)
    settled: list[api.SettlementItem] = field(default_factory=list)
    reports: list[api.ReportRequest] = field(default_factory=list)
    proofs: dict[str, ReceiptProof] = field(default_factory=dict)
    linked: tuple[PeerId, ...] = ()
    places: api.RegionsReply = field(default_factory=regions_reply)
    asked_regions: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def _check(self) -> None:
        if self.down:
            raise TrackerUnreachable("The tracker does not answer.")

    async def close(self) -> None:
        """Nothing is open."""

    async def network(self) -> api.NetworkInfo:
        """Return network info."""
        self._check()
        return self.info or self.keys.network_info()

    async def nodes(self, *, task: str, model: str | None, region: str | None) -> api.NodesReply:  # noqa: ARG002 -- the tracker may return more
        """Return the index."""
        self._check()
        return self.keys.index(*self.adverts)

    async def regions(self) -> api.RegionsReply:
        """Return where nodes are, and where the client is."""
        self._check()
        self.asked_regions += 1
        return self.places

    async def grant(self, request: api.GrantRequest) -> api.GrantReply:
        """Issue a grant."""
        self._check()
        self.grants.append(request)
        price = 1 if self.info is None else self.info.prices.version
        return self.keys.grant(request, next(self._numbers), now=int(self.clock()), price=price)

    async def balance(self) -> api.BalanceReply:
        """Return the balance."""
        self._check()
        return api.BalanceReply(account="demo", spendable_microcredits=self.spendable_microcredits)

    async def own_nodes(self) -> api.OwnNodesReply:
        """Return the nodes that are linked to the account."""
        self._check()
        return api.OwnNodesReply(nodes=self.linked)

    async def settle(self, batch: api.SettlementBatch) -> api.SettlementReply:
        """Take vouchers."""
        self._check()
        self.settled += batch.items
        return api.SettlementReply(results=tuple(api.SettlementResult(status="settled") for _ in batch.items))

    async def report(self, request: api.ReportRequest) -> None:
        """Take a complaint."""
        self._check()
        self.reports.append(request)

    async def receipt_proof(self, receipt_id: str) -> ReceiptProof:
        """Return a proof."""
        self._check()
        return self.proofs[receipt_id]


class World:
    """Everything around a client. The clock stands still unless a test moves ``now``.

    ``elapsed_s``: monotonic seconds for whoever is made without ``surroundings``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = float(EPOCH)
        self.elapsed_s = 0.0
        self.keys = Keys()
        self.mesh = MemoryNetwork()
        self.tracker = FakeTracker(self.keys, self.clock)
        self.nodes: list[ScriptedNode] = []
        self.adverts: dict[PeerId, Signed[Advert]] = {}

    def clock(self) -> float:
        """Unix seconds."""
        return self.now

    def add_node(
        self,
        *,
        region: Region = Region.ASIA,
        where: str = "dht",
        model: str = MODEL,
        task: Task = Task.LLM,
        addresses: tuple[str, ...] = TCP_ONLY,
        speed: Speed = SPEED,
        **script: Any,
    ) -> ScriptedNode:
        """Add a node that announces itself in the DHT (``dht``), to the tracker (``index``) or in ``both``."""
        identity = Identity.from_seed(bytes([10 + len(self.nodes)]) * 32)
        node = ScriptedNode(identity, self.keys.trust, clock=self.clock, **script)
        advert = self.keys.advert(identity, region=region, model=model, task=task, addresses=addresses, speed=speed)
        self.adverts[node.peer_id] = advert
        if where in {"dht", "both"}:
            self.mesh.announce(advert)
        if where in {"index", "both"}:
            self.tracker.adverts.append(advert)
        self.mesh.handlers[node.peer_id, PROBE_PROTOCOL] = node.serve_probe
        self.mesh.handlers[node.peer_id, JOB_PROTOCOL] = node.serve_job
        self.nodes.append(node)
        return node

    def remove_node(self, peer: PeerId) -> None:
        """Take a node off the network; its adverts stay."""
        for protocol in (PROBE_PROTOCOL, JOB_PROTOCOL):
            self.mesh.handlers.pop((peer, protocol), None)

    def remove_probe(self, peer: PeerId) -> None:
        """Let a node answer no probes, so that it is tried after those that do."""
        del self.mesh.handlers[peer, PROBE_PROTOCOL]

    def silence_probe(self, peer: PeerId) -> None:
        """Let a node take probes and answer none, like a machine that was switched off."""

        async def listen(stream: MemoryStream) -> None:
            while await stream.read():
                pass

        self.mesh.handlers[peer, PROBE_PROTOCOL] = listen

    def certificate_serial(self, node: ScriptedNode) -> str:
        """Return the serial of the certificate in a node's advert."""
        return read_body(Certificate, self.adverts[node.peer_id].body.certificate).serial

    def config(self, **settings: Any) -> ClientConfig:
        """Return a client's configuration."""
        given = {"tracker": self.tracker.url, "api_key": "key", "state_dir": self.folder / "client", **settings}
        return ClientConfig.load(given)

    def surroundings(self, **changes: Any) -> Surroundings:
        """Return what a client takes from outside."""
        fields: dict[str, Any] = {
            "create_mesh": lambda config, validator: MemoryMesh(self.mesh, config, validator, self.clock),
            "create_tracker": lambda _: self.tracker,
            "clock": self.clock,
            "monotonic": lambda: asyncio.get_running_loop().time(),
            "random": Random(1),
            "resume_for_s": 0.0,
        }
        return Surroundings(**fields | changes)

    def client(self, **settings: Any) -> AsyncInferenceClient:
        """Return a client; the test closes it."""
        return AsyncInferenceClient.from_config(self.config(**settings), self.surroundings())
