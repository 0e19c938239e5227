"""What the node says of itself, signed, and small enough for the DHT."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gpunode_protocol import canonical
from gpunode_protocol.adverts import (
    ADVERT_LIFETIME_S,
    MAX_ADVERT_AHEAD_S,
    Advert,
    Gpu,
    Load,
    ModelAdvert,
    Speed,
    pack_advert,
)
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.geography import Position
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh.multiaddrs import ip_of, is_relayed, split_peer
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, Signed, sign

from gpunode_node.served_model import ServedModel

MAX_ADDRESSES = 8
MAX_ADDRESS_CHARACTERS = 160
_TOMBSTONE_LIFETIME_S = MAX_ADVERT_AHEAD_S - 5
"""Longer than an advert's life, so that it outlives the advert it replaces; a little under the limit, for clocks."""
_CHANGING_FIELDS = frozenset({"sequence", "expires_at", "load", "rtt_ms", "certificate"})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where and what this node is, apart from its models.

    certificate: from the tracker. addresses: multiaddrs with ``/p2p/…``.
    position: None = unknown. rtt_ms: round trip to each region that is known.
    """

    network: str
    certificate: Envelope
    region: Region
    country: str
    gpu: Gpu
    addresses: tuple[str, ...]
    position: Position | None = None
    rtt_ms: Mapping[str, int] = field(default_factory=dict)


class AdvertBuilder:
    """Signs adverts with sequence numbers that only grow, also across restarts: Unix milliseconds.

    Args:
        identity: the node's key.
        unix_time: seconds.
    """

    def __init__(self, identity: Identity, unix_time: Callable[[], float]) -> None:
        self._identity = identity
        self._unix_time = unix_time
        self._sequence = 0

    def build(self, model: ServedModel, standing: Standing, *, tombstone: bool = False) -> Signed[Advert]:
        """Return the advert of one model; addresses are left out, the last ones first, until it fits.

        Raises:
            MalformedMessage: it is too large even without addresses.
        """
        now = self._unix_time()
        self._sequence = max(self._sequence + 1, int(now * 1000))
        addresses = [] if tombstone else advertised_addresses(standing.addresses)
        while True:
            advert = Advert(
                network=standing.network,
                peer=self._identity.peer_id,
                certificate=standing.certificate,
                sequence=self._sequence,
                region=standing.region,
                country=standing.country,
                latitude=standing.position.latitude if standing.position else None,
                longitude=standing.position.longitude if standing.position else None,
                gpu=standing.gpu,
                model=_model_advert(model),
                load=Load(active=model.scheduler.active, queued=model.scheduler.queued),
                rtt_ms=dict(standing.rtt_ms),
                path="relayed" if addresses and all(map(is_relayed, addresses)) else "direct",
                sandbox=model.info.confinement.level,
                addresses=tuple(addresses),
                expires_at=int(now) + (_TOMBSTONE_LIFETIME_S if tombstone else ADVERT_LIFETIME_S),
                tombstone=tombstone,
            )
            signed = sign(self._identity, advert)
            try:
                pack_advert(signed.envelope)
            except MalformedMessage:
                if not addresses:
                    raise
                addresses.pop()
            else:
                return signed


def content_digest(advert: Advert) -> bytes:
    """Return a digest of what is worth an announcement of its own: all but what changes by itself."""
    content = {name: value for name, value in advert.to_map().items() if name not in _CHANGING_FIELDS}
    return hashlib.sha256(canonical.encode(content)).digest()


def advertised_addresses(addresses: Sequence[str]) -> list[str]:
    """Return the transport addresses to advertise, best first: direct before relayed, loopback only when alone."""
    transports = list(dict.fromkeys(split_peer(address)[0] for address in addresses))
    elsewhere = [address for address in transports if not _is_loopback(address)]
    usable = [address for address in elsewhere or transports if len(address) <= MAX_ADDRESS_CHARACTERS]
    return sorted(usable, key=is_relayed)[:MAX_ADDRESSES]


def _is_loopback(address: str) -> bool:
    ip = ip_of(address)
    return ip is not None and (ip.startswith("127.") or ip == "::1")


def _model_advert(model: ServedModel) -> ModelAdvert:
    info, speed = model.info, model.speed
    return ModelAdvert(
        name=model.name,
        task=model.task,
        fingerprint=info.fingerprint,
        speed=Speed(
            input_milliunits_per_s=round(1000 * speed.prefill_tokens_per_s),
            output_milliunits_per_s=round(1000 * speed.decode_tokens_per_s),
        ),
        context=info.context_tokens,
        slots=info.slots,
    )
