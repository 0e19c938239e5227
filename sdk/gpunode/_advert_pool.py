"""Adverts as they come in from all sources, each verified, one for each node and model. Pure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gpunode_protocol.adverts import Advert, open_advert
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, Signed
from gpunode_protocol.trust import check_advert

from gpunode._network import Network
from gpunode._selection import Candidate, Wanted, objection, why_not
from gpunode.types import Source

MAX_INDEX_AGE_S: Final = 300
"""An older index is a replay: every advert in it has expired."""

HeldAgainst = Callable[[PeerId], str | None]
"""Says why a node is not asked whatever is wanted, None if it may be."""


def nothing_known(_node: PeerId) -> str | None:
    """Hold nothing against anybody."""
    return None


@dataclass
class Found:
    """What a search brought.

    candidates: newest advert of each node and model. excluded: nodes that serve what is wanted and may not do it,
    counted by reason. reasons: why other adverts and sources are of no use, counted.
    """

    candidates: list[Candidate] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class AdvertPool:
    """Keeps of each node and model the newest advert, which counts as found in the DHT if it was there too.

    Args:
        network: against which adverts are verified. wanted: what they must be about. now: Unix seconds.
        held_against: see ``HeldAgainst``.
    """

    def __init__(
        self, network: Network, wanted: Wanted, *, now: float, held_against: HeldAgainst = nothing_known
    ) -> None:
        self._network = network
        self._wanted = wanted
        self._now = now
        self._held_against = held_against
        self._candidates: dict[tuple[str, str], Candidate] = {}
        self._objections: dict[tuple[str, str], str] = {}
        self.reasons: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The candidates so far."""
        return len(self._candidates)

    def has_any_in(self, region: Region | None) -> bool:
        """Return whether there is a candidate in a region; None = anywhere."""
        return any(region is None or item.body.region is region for item in self._candidates.values())

    def found(self) -> Found:
        """Return what has come in so far."""
        return Found(list(self._candidates.values()), Counter(self._objections.values()), self.reasons.copy())

    def add_index(self, envelope: Envelope) -> None:
        """Check the index's signature and age, then its adverts one by one.

        Raises:
            GpunodeError: the index is not the network's.
        """
        index = self._network.trust.open_index(envelope).body
        if index.issued_at < self._now - MAX_INDEX_AGE_S:
            self.reasons["the tracker's index is old"] += 1
            return
        for item in index.adverts:
            try:
                advert = open_advert(item)
            except GpunodeError:
                self.reasons["advert in the index is not valid"] += 1
                continue
            self.add_verified_by_node(advert, "index")

    def add_verified_by_node(self, advert: Signed[Advert], source: Source) -> None:
        """Add an advert whose own signature was checked, if tracker's word and the question agree."""
        body = advert.body
        if source != "cache" and body.expires_at <= self._now:
            self.reasons["advert has expired"] += 1
            return
        try:
            check_advert(self._network.trust, advert, self._network.revocations, now=self._now)
        except GpunodeError as error:
            self.reasons[str(error)] += 1
            return
        reason = why_not(body, self._wanted)
        if reason is not None:
            self.reasons[reason] += 1
            return
        key = (body.peer, body.model.name)
        refusal = objection(body, self._wanted) or self._held_against(body.peer)
        if refusal is not None:
            self._objections[key] = refusal  # once for each node, however many sources tell of it
            return
        known = self._candidates.get(key)
        if known is None:
            self._candidates[key] = Candidate(advert, source)
            return
        newest = max(known.advert, advert, key=lambda item: item.body.sequence)
        in_dht = "dht" in {known.source, source}
        self._candidates[key] = Candidate(newest, "dht" if in_dht else known.source)
