"""Into how many shards the DHT's topics are split, so that no key holds more adverts than nodes store under one."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Self

from gpunode_protocol.dht_keys import MAX_SHARD_BITS, shard_of
from gpunode_protocol.identity import PeerId

TARGET_ADVERTS: Final = 32
"""Adverts of a shard on average after a change, at most: a store takes 64, and hashes spread unevenly."""
MAX_ADVERTS: Final = 64
"""A shard with more makes the next change: a store would drop the rest."""
MIN_ADVERTS: Final = 16
"""Shards with fewer on average are merged: every look-up asks for all of them."""
OVERLAP_S: Final = 300
"""After a change, writers and readers use both counts for so long; the next change waits for that."""


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """bits: first bits of a peer's hash that name its shard. previous: those before the change at ``changed_at``."""

    bits: int = 0
    previous: int | None = None
    changed_at: int

    @classmethod
    def from_json(cls, text: bytes | None, *, now: int) -> Self:
        """Return what was kept, or no shards. An index that has just begun to fill counts as a change."""
        if text is None:
            return cls(changed_at=now)
        kept = json.loads(text)
        is_recent = now < kept["changed_at"] + OVERLAP_S
        return cls(bits=kept["bits"], previous=kept["previous"] if is_recent else None, changed_at=now)

    def or_newer(self, text: bytes | None) -> "Sharding":
        """Return what another replica has kept, if its change is newer than this one's; else this."""
        if text is None:
            return self
        kept = json.loads(text)
        if kept["changed_at"] <= self.changed_at or kept["bits"] == self.bits:
            return self
        return Sharding(bits=kept["bits"], previous=kept["previous"], changed_at=kept["changed_at"])

    def to_json(self) -> bytes:
        """Return what ``from_json`` reads."""
        return json.dumps({"bits": self.bits, "previous": self.previous, "changed_at": self.changed_at}).encode()

    def previous_at(self, now: int) -> int | None:
        """Return the count that is still in use beside ``bits``; now: Unix seconds."""
        return self.previous if now < self.changed_at + OVERLAP_S else None

    def reconsidered(self, areas: Iterable[Collection[str]], now: int) -> "Sharding":
        """Return the sharding for these peers, one collection a region; the same object if nothing is to change."""
        if now < self.changed_at + OVERLAP_S:
            return self
        bits = bits_for(list(areas), self.bits)
        return self if bits == self.bits else Sharding(bits=bits, previous=self.bits, changed_at=now)


def bits_for(areas: Collection[Collection[str]], bits: int) -> int:
    """Return how many bits the peers of the regions need; the present number as long as it serves.

    The fullest topic of a region is that of all its nodes, which has one advert of each peer.
    """
    most = max((len(peers) for peers in areas), default=0)
    is_too_fine = bits > 0 and most < MIN_ADVERTS << bits
    if not is_too_fine and all(_fullest_shard(peers, bits) <= MAX_ADVERTS for peers in areas):
        return bits
    return next((count for count in range(MAX_SHARD_BITS) if most <= TARGET_ADVERTS << count), MAX_SHARD_BITS)


def _fullest_shard(peers: Collection[str], bits: int) -> int:
    return max(Counter(shard_of(PeerId(peer), bits) for peer in peers).values(), default=0)
