"""Adverts of one node in a network of its own, signed like real ones, so that records cost what they cost."""

import time

from gpunode_protocol.adverts import ADVERT_LIFETIME_S, Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.dht_keys import DhtKey
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.trust import Trust

_REGION = Region.EUROPE
_FINGERPRINT = bytes(32)
_LABEL = "benchmark"


class SampleNetwork:
    """A root key, a tracker key and what follows from them, made afresh."""

    def __init__(self) -> None:
        root = Identity.generate()
        self._tracker = Identity.generate()
        self._network = network_id_of(root.public_key)
        self._kid = key_id_of(self._tracker.public_key)
        now = int(time.time())
        key = TrackerKey(kid=self._kid, public_key=self._tracker.public_key, not_before=now)
        keyset = KeySet(network=self._network, sequence=1, issued_at=now, keys=(key,))
        self.trust = Trust.from_keyset(root.public_key, sign(root, keyset).envelope)

    def key_of(self, number: int) -> DhtKey:
        """Return the DHT key of the topic ``number``."""
        return DhtKey(self._network, Task.LLM, _model_name(number), _REGION, 0, "-")

    def advert(self, node: Identity, number: int, sequence: int) -> Signed[Advert]:
        """Return a node's advert for the topic ``number``; a larger ``sequence`` replaces a smaller one."""
        now = int(time.time())
        certificate = certificate_for(node.peer_id, network=self._network, kid=self._kid, now=now)
        model = ModelAdvert(
            name=_model_name(number),
            task=Task.LLM,
            fingerprint=_FINGERPRINT,
            speed=Speed(input_milliunits_per_s=0, output_milliunits_per_s=0),
            context=4096,
            slots=4,
        )
        body = Advert(
            network=self._network,
            peer=node.peer_id,
            certificate=sign(self._tracker, certificate).envelope,
            sequence=sequence,
            region=_REGION,
            gpu=Gpu(model="", count=0, memory_mb=0),
            model=model,
            addresses=("/ip4/127.0.0.1/tcp/4001",),
            expires_at=now + ADVERT_LIFETIME_S,
        )
        return sign(node, body)


def _model_name(number: int) -> str:
    return f"{_LABEL}-{number}"
