"""A peer that the tracker has certified as a node, so that nothing but what its adverts say is wrong about them."""

import time
from dataclasses import replace
from typing import Any

from gpunode_protocol.adverts import ADVERT_LIFETIME_S, Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.dht_keys import DhtKey, keys_of_advert
from gpunode_protocol.mesh._dht_protocol import dht_id
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_protocol.mesh.record_merge import RecordMerge
from gpunode_protocol.mesh.records import ValidRecord, key_id_of, pack_value
from gpunode_protocol.regions import Region
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import (
    CHALLENGE_PATH,
    REGISTER_PATH,
    ChallengeReply,
    RegisterReply,
    RegisterRequest,
    Registration,
)
from gpunode_protocol.trust import Trust

from tests.acceptance.attacker import Attacker, RawRecord
from tests.acceptance.network import MODEL

REGION = Region.OCEANIA


class CertifiedPeer:
    """Registers an attacker at the tracker and signs adverts by its key."""

    def __init__(self, attacker: Attacker) -> None:
        self.attacker = attacker
        self.identity = attacker.peer.identity
        self.info = attacker.peer.info
        self._trust = Trust.from_keyset(self.info.root_public_key, self.info.keyset)
        status, reply = attacker.network.call("POST", CHALLENGE_PATH)
        assert status in {200, 201}, reply
        challenge = ChallengeReply.model_validate(reply, strict=False).challenge
        registration = Registration(network=self.info.network, peer=self.peer_id, challenge=challenge, region=REGION)
        request = RegisterRequest(registration=sign(self.identity, registration).envelope)
        status, reply = attacker.network.call("POST", REGISTER_PATH, request)
        assert status in {200, 201}, reply
        self.certificate = RegisterReply.model_validate(reply, strict=False).certificate

    @property
    def peer_id(self) -> str:
        """Of the attacker."""
        return self.identity.peer_id

    def keys(self, peer_id: str, *, model: str = MODEL, region: Region = REGION) -> list[DhtKey]:
        """Return the keys under which a peer's advert of a model belongs."""
        return keys_of_advert(self.info.network, Task.LLM, model, region, peer_id, (self.info.shard_bits,))

    def advert(self, **changes: Any) -> Advert:
        """Return an advert that any node would take; ``changes``: other fields."""
        fields: dict[str, Any] = {
            "network": self.info.network,
            "peer": self.peer_id,
            "certificate": self.certificate,
            "sequence": 1,
            "region": REGION,
            "gpu": Gpu(model="", count=0, memory_mb=0),
            "model": self.model(MODEL),
            "expires_at": int(time.time()) + ADVERT_LIFETIME_S,
        } | changes
        return Advert(**fields)

    @staticmethod
    def model(name: str) -> ModelAdvert:
        """Return what a node says of a model that it serves."""
        speed = Speed(input_milliunits_per_s=0, output_milliunits_per_s=0)
        return ModelAdvert(name=name, task=Task.LLM, fingerprint=bytes(32), speed=speed, context=4096, slots=4)

    def record(self, advert: Advert, key: DhtKey | None = None, *, signature: bytes = b"") -> RawRecord:
        """Return an own advert as it is stored under a key, else under the first that is right for it.

        signature: instead of the true one.
        """
        place = key or self.keys(self.peer_id, model=advert.model.name, region=advert.region)[0]
        envelope = sign(self.identity, advert).envelope
        if signature:
            envelope = Envelope(body=envelope.body, signature=signature)
        return self.raw(place, pack(envelope.to_map()), advert.expires_at)

    def raw(self, key: DhtKey, value: bytes, expires_at: float) -> RawRecord:
        """Return any value under a key and this peer's name."""
        return RawRecord(key_id_of(str(key)), self.peer_id.encode(), pack_value(str(key), value), expires_at)

    def store(self, peer: PeerID, *records: RawRecord) -> list[bool]:
        """Ask a peer to keep records; return which it keeps."""
        return self.attacker.loop.run(self.attacker.store(peer, records))

    def found(self, peer: PeerID, key: DhtKey) -> dict[str, ValidRecord]:
        """Return by peer id what a server has under a key and what a client believes of it."""
        place = key_id_of(str(key))
        protocol = self.attacker.mesh._keeper.link.protocol
        replies = self.attacker.loop.run(protocol.call_find(peer, [dht_id(place)]))
        assert replies, "the server gave no answer"
        merge = RecordMerge(AdvertValidator(self._trust), place, time.time())
        for reply in replies.values():
            merge.add(reply.entries)
        assert not merge.dropped, merge.dropped
        return {record.peer_id: record for record in merge.records()}


def under(record: RawRecord, peer_id: str) -> RawRecord:
    """Return a record under another peer's name."""
    return replace(record, subkey=peer_id.encode())
