"""Hostile DHT servers with chosen ids: nearest to a key, they keep nothing, find nothing and name only each other."""

import asyncio
import hashlib
import itertools
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path

import msgpack
import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshConfig, _hivemind_link
from gpunode_protocol.mesh._dht_protocol import RecordProtocol, own_node_id
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.mesh._hivemind_api import P2PContext, PeerID, dht_pb2
from gpunode_protocol.mesh.records import key_id_of, node_id_of

from tests.protocol.mesh.conftest import link_of
from tests.protocol.mesh.plain_records import PlainValidator

STARTS_AT_ONCE = 4
_FOREVER = math.inf


class Answer(StrEnum):
    """How a Sybil answers a look-up."""

    NOTHING = "nothing"
    GARBAGE = "garbage"
    EMPTY_FOREVER = "an empty dictionary that lasts for ever"
    SILENCE = "not at all"


class SybilProtocol(RecordProtocol):
    """Says yes to every store, keeps nothing, answers look-ups as set, with its accomplices as the only neighbours."""

    _rpc_handlers = None
    _stub_type = None
    answer = Answer.NOTHING
    accomplices: Sequence[PeerID] = ()

    async def rpc_store(self, request: dht_pb2.StoreRequest, context: P2PContext) -> dht_pb2.StoreResponse:  # noqa: ARG002 -- hivemind's signature
        """Pretend."""
        return dht_pb2.StoreResponse(peer=self.node_info, store_ok=[True] * len(request.keys))

    async def rpc_find(self, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:  # noqa: ARG002 -- hivemind's signature
        """Mislead."""
        if self.answer is Answer.SILENCE:
            await asyncio.Event().wait()
        return dht_pb2.FindResponse(peer=self.node_info, results=[self._result() for _ in request.keys])

    def _result(self) -> dht_pb2.FindResult:
        value = {Answer.GARBAGE: b"\xc1 garbage", Answer.EMPTY_FOREVER: msgpack.packb([])}.get(self.answer)
        result = dht_pb2.FindResult(
            type=dht_pb2.NOT_FOUND if value is None else dht_pb2.FOUND_DICTIONARY,
            value=value or b"",
            expiration_time=_FOREVER,
        )
        for peer in self.accomplices:
            result.nearest_node_ids.append(own_node_id(peer).to_bytes())
            result.nearest_peer_ids.append(peer.to_bytes())
        return result


def distance(peer_id: str, key: str) -> int:
    """Return how far a peer is from a key."""
    return int.from_bytes(node_id_of(peer_id), "big") ^ int.from_bytes(key_id_of(key), "big")


def ground_identities(key: str, nearer_than: int) -> Iterator[Identity]:
    """Yield key pairs whose ids are nearer to a key than ``nearer_than``: what an attacker searches for."""
    for number in itertools.count():
        identity = Identity.from_seed(hashlib.sha256(f"{key} {number}".encode()).digest())
        if distance(identity.peer_id, key) < nearer_than:
            yield identity


@asynccontextmanager
async def sybils(
    identities: Sequence[Identity], bootstrap: Sequence[str], folder: Path, answers: Sequence[Answer]
) -> AsyncIterator[list[HivemindMesh]]:
    """Run Sybils, each with its own p2pd; they answer in the given ways by turns."""
    gate = asyncio.Semaphore(STARTS_AT_ONCE)
    async with AsyncExitStack() as stack:

        async def start(number: int, identity: Identity) -> HivemindMesh:
            async with gate:
                return await _start(stack, identity, bootstrap, folder / f"y{number}")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_hivemind_link, "RecordProtocol", SybilProtocol)
            started = await asyncio.gather(*(start(number, identity) for number, identity in enumerate(identities)))
        accomplices = [PeerID.from_base58(mesh.peer_id) for mesh in started]
        for mesh, answer in zip(started, itertools.cycle(answers), strict=False):
            protocol = link_of(mesh).protocol
            assert isinstance(protocol, SybilProtocol)
            protocol.accomplices, protocol.answer = accomplices, answer
        yield started


async def _start(stack: AsyncExitStack, identity: Identity, bootstrap: Sequence[str], folder: Path) -> HivemindMesh:
    (folder / "s").mkdir(parents=True)
    path = folder / "identity.key"
    path.write_bytes(identity.to_libp2p())
    path.chmod(0o600)
    config = MeshConfig(identity_path=path, state_dir=folder / "s", bootstrap=tuple(bootstrap), quic=False)
    mesh = HivemindMesh(config, PlainValidator())
    stack.push_async_callback(mesh.stop)
    await mesh.start()
    return mesh
