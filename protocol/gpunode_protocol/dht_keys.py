"""The DHT's topics: which keys an advert is stored under, and where a client looks.

``gpunode/1/{network}/{task}/{model or *}/{region}/{salt}/{shard}`` and ``gpunode/1/{network}/nodes/*/{region}/…``.
A region that grew large splits by country: its part of the text is then ``{region}-{country}``, e.g. ``europe-de``.
Two salts put every topic on two unrelated sets of nodes; shards bound how many adverts one key holds.
"""

import hashlib
import re
from dataclasses import dataclass

from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

ANY_MODEL = "*"
SALTS = (0, 1)
MAX_SHARD_BITS = 16
_NO_SHARD = "-"
_NODES = "nodes"


@dataclass(frozen=True, slots=True)
class DhtKey:
    """One topic.

    task: None = all nodes of the region. shard: first bits of SHA-256(peer id) as 0s and 1s, or ``-``. country: two
    small letters (ISO 3166-1) where the network splits the region, else empty.
    """

    network: str
    task: Task | None
    model: str
    region: Region
    salt: int
    shard: str
    country: str = ""

    def __str__(self) -> str:
        """Return the text that is hashed into a DHT id."""
        topic = self.task or _NODES
        area = f"{self.region}-{self.country}" if self.country else self.region
        return f"gpunode/1/{self.network}/{topic}/{self.model}/{area}/{self.salt}/{self.shard}"


def shard_of(peer_id: PeerId, bits: int) -> str:
    """Return the shard of a peer: a hash, because all ed25519 peer ids begin with the same bytes."""
    if bits == 0:
        return _NO_SHARD
    number = int.from_bytes(hashlib.sha256(peer_id.encode()).digest()[:2], "big")
    return format(number >> (MAX_SHARD_BITS - bits), f"0{bits}b")


def parse_key(text: str) -> DhtKey:
    """Read a key's text.

    Raises:
        MalformedMessage: not a topic of this protocol.
    """
    parts = text.split("/")
    try:
        prefix, version, network, topic, model, area, salt, shard = parts
        region, _, country = area.partition("-")
        task = None if topic == _NODES else Task(topic)
        key = DhtKey(network, task, model, Region(region), int(salt), shard, country)
    except ValueError as error:
        raise MalformedMessage(f"{text[:120]!r} is not a gpunode DHT key.") from error
    shard_ok = shard == _NO_SHARD or (0 < len(shard) <= MAX_SHARD_BITS and set(shard) <= {"0", "1"})
    country_ok = country == "" or re.fullmatch("[a-z]{2}", country) is not None
    known = (prefix, version) == ("gpunode", "1") and key.salt in SALTS and shard_ok and country_ok
    if not known or str(key) != text:
        raise MalformedMessage(f"{text[:120]!r} is not a gpunode DHT key.")
    return key


def keys_of_advert(
    network: str,
    task: Task,
    model: str,
    region: Region,
    peer_id: PeerId,
    shard_bits: tuple[int, ...],
    country: str = "",
) -> list[DhtKey]:
    """Return every key that a node stores its advert of one model under.

    Args:
        shard_bits: the published bit count; both counts during the 5 minutes after a change.
        country: of the advert, in small letters, where the network splits the region; else empty.
    """
    topics: list[tuple[Task | None, str]] = [(task, model), (task, ANY_MODEL), (None, ANY_MODEL)]
    return [
        DhtKey(network, topic, name, region, salt, shard_of(peer_id, bits), country)
        for bits in dict.fromkeys(shard_bits)
        for topic, name in topics
        for salt in SALTS
    ]


def keys_to_search(
    network: str, task: Task | None, model: str, region: Region, shard_bits: int, country: str = ""
) -> list[DhtKey]:
    """Return the keys that together hold a topic's adverts: every shard under both salts."""
    shards = [_NO_SHARD] if shard_bits == 0 else [format(n, f"0{shard_bits}b") for n in range(2**shard_bits)]
    return [DhtKey(network, task, model, region, salt, shard, country) for shard in shards for salt in SALTS]
