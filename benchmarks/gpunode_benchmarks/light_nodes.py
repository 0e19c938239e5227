"""Nodes without engines, many in one process: registered, in the DHT, announced, listed by the tracker, probed.

Each has a p2pd of its own, because its libp2p identity is the node: two on one p2pd would be one node.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from gpunode_node.advert_builder import advertised_addresses
from gpunode_node.announcer import Announcer
from gpunode_node.mesh_membership import wait_for_peers
from gpunode_node.tracker_client import TrackerClient
from gpunode_protocol.adverts import ADVERT_LIFETIME_S, Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.mesh import LOOPBACK_ADDRESSES, Mesh, MeshConfig, MeshStream, create_mesh
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_protocol.messages import PROBE_PROTOCOL, ProbeReplyFrame, encode_frame
from gpunode_protocol.probe import ProbeServer
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import HeartbeatRequest, NetworkInfo, Registration
from gpunode_protocol.trust import Trust

from gpunode_benchmarks.errors import BenchmarkFailed

MODEL: Final = "light-model"
"""What light nodes say that they serve, unless told otherwise."""

STARTS_AT_ONCE: Final = 4
SLOTS: Final = 4
_FINGERPRINT: Final = bytes(32)
_STATE_DIR: Final = "s"


@dataclass(slots=True)
class LightNode:
    """One node. token: of the tracker."""

    mesh: Mesh
    region: Region
    announcer: Announcer
    token: str


class LightNodes:
    """Light nodes of one tracker's network; they end with ``stack``.

    Args:
        stack: owns the nodes.
        folder: for their files; short, because of Unix sockets.
        tracker: of the network.
        info: what the tracker says of the network.
        regions: where the nodes are, in turn.
        listen: multiaddrs of each node.

    ``model`` is what all of them announce the next time.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        folder: Path,
        tracker: TrackerClient,
        info: NetworkInfo,
        regions: Sequence[Region] = tuple(Region),
        listen: Sequence[str] = LOOPBACK_ADDRESSES,
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._tracker = tracker
        self._info = info
        self._regions = regions
        self._listen = listen
        self.model = MODEL
        self._trust = Trust.from_keyset(info.root_public_key, info.keyset)
        self.nodes: list[LightNode] = []

    async def grow(self, count: int) -> None:
        """Start nodes until there are ``count``; then all announce themselves once more.

        Raises:
            BenchmarkFailed: a node found no place for its adverts.
            GpunodeError: p2pd cannot be started, or the tracker refuses a node.
        """
        gate = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(number: int) -> LightNode:
            async with gate:
                return await self._start(number, self._regions[number % len(self._regions)])

        self.nodes += await asyncio.gather(*(start(number) for number in range(len(self.nodes), count)))
        await self.announce()

    async def announce(self) -> None:
        """Let every node announce itself in the DHT and at the tracker.

        Raises:
            BenchmarkFailed: see ``grow``.
        """
        for node in self.nodes:
            await self._announce(node)

    async def _start(self, number: int, region: Region) -> LightNode:
        folder = self._folder / f"n{number}"
        (folder / _STATE_DIR).mkdir(parents=True)
        config = MeshConfig(
            identity_path=folder / "identity.key",
            state_dir=folder / _STATE_DIR,
            listen_addresses=tuple(self._listen),
            bootstrap=tuple(self._info.bootstrap),
            force_reachability="public",
        )
        mesh = create_mesh(config, AdvertValidator(self._trust))
        self._stack.push_async_callback(mesh.stop)
        await mesh.start()
        await mesh.serve(PROBE_PROTOCOL, _answer_probes)
        token, certificate = await self._register(mesh, region)
        addresses = await mesh.addresses()
        adverts = _Adverts(mesh, self._info.network, certificate, region, addresses)

        async def build(tombstone: bool) -> list[Signed[Advert]]:
            return [adverts.sign_next(self.model, tombstone=tombstone)]

        announcer = Announcer(mesh.announce, build, self._shard_bits, partial(wait_for_peers, mesh))
        return LightNode(mesh, region, announcer, token)

    def _shard_bits(self) -> tuple[int, ...]:
        return (self._info.shard_bits,)

    async def _register(self, mesh: Mesh, region: Region) -> tuple[str, Envelope]:
        challenge = await self._tracker.challenge()
        registration = Registration(
            network=self._info.network, peer=mesh.peer_id, challenge=challenge.challenge, region=region
        )
        reply = await self._tracker.register(sign(mesh.identity, registration).envelope)
        return reply.token, reply.certificate

    async def _announce(self, node: LightNode) -> None:
        node.announcer.renew()
        await node.announcer.announce_when_due()
        if not node.announcer.stored:
            raise BenchmarkFailed(f"A light node could not announce itself: {node.announcer.problem}. Run it again.")
        body = HeartbeatRequest(status="online", adverts=node.announcer.adverts)
        reply = await self._tracker.heartbeat(node.mesh.peer_id, node.token, body)
        if reply.adverts_refused:
            raise BenchmarkFailed(f"The tracker lists a light node not: {reply.adverts_refused[0]}. Run it again.")


@dataclass(slots=True)
class _Adverts:
    """Signs a light node's adverts."""

    mesh: Mesh
    network: str
    certificate: Envelope
    region: Region
    addresses: Sequence[str]
    sequence: int = 0

    def sign_next(self, model_name: str, *, tombstone: bool) -> Signed[Advert]:
        """Return a newer advert than the one before."""
        self.sequence += 1
        model = ModelAdvert(
            name=model_name,
            task=Task.LLM,
            fingerprint=_FINGERPRINT,
            speed=Speed(input_milliunits_per_s=0, output_milliunits_per_s=0),
            context=4096,
            slots=SLOTS,
        )
        advert = Advert(
            network=self.network,
            peer=self.mesh.peer_id,
            certificate=self.certificate,
            sequence=self.sequence,
            region=self.region,
            gpu=Gpu(model="", count=0, memory_mb=0),
            model=model,
            addresses=tuple(advertised_addresses(self.addresses)),
            expires_at=int(time.time()) + ADVERT_LIFETIME_S,
            tombstone=tombstone,
        )
        return sign(self.mesh.identity, advert)


async def _answer_probes(stream: MeshStream) -> None:
    """Answer as an idle node does."""
    server = ProbeServer()
    while data := await stream.read():
        for probe in server.receive_data(data):
            reply = ProbeReplyFrame(nonce=probe.nonce, active=0, queued=0, slots=SLOTS, wait_ms=0, draining=False)
            await stream.write(encode_frame(reply))
