"""Finding nodes: the DHT, the tracker's signed index beside it, and the nodes that were good before."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gpunode_protocol.adverts import Advert, open_advert
from gpunode_protocol.dht_keys import ANY_MODEL, DhtKey, keys_to_search
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh.interface import Mesh
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, Signed
from gpunode_protocol.tracker_api import NodesReply
from gpunode_protocol.trust import check_advert

from gpunode._good_nodes import GoodNodes
from gpunode._network import Network
from gpunode._selection import Candidate, Wanted, objection, why_not
from gpunode.types import Source

_log = logging.getLogger(__name__)

ENOUGH: Final = 8
"""With so many candidates there is no need to look in other regions or to wait for the index."""
QUICK_LOOK_UP_S: Final = 1.0
"""What a look-up has found by then is used: waiting longer (for peers that have just died, mostly) adds little."""
PATIENT_LOOK_UP_S: Final = 4.0
"""Only when the quick one has found nothing at all."""
INDEX_DEADLINE_S: Final = 3.0
MAX_LOOK_UPS: Final = 32
"""Keys looked up at once."""
MAX_INDEX_AGE_S: Final = 300
"""An older index is a replay: every advert in it has expired."""

FetchIndex = Callable[[Wanted], Awaitable[NodesReply]]
"""Asks the tracker for its index; raises ``ClientError``."""


@dataclass
class Found:
    """What a search brought.

    candidates: newest advert of each node and model. excluded: nodes that serve what is wanted and may not do it,
    counted by reason. reasons: why other adverts and sources are of no use, counted.
    """

    candidates: list[Candidate] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Discovery:
    """Asks the three sources at once and verifies every advert.

    Args:
        mesh: the DHT.
        index: fetches the tracker's index.
        good_nodes: the third source.
        network: returns what is known of the network now.
        clock: Unix seconds.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        index: FetchIndex,
        good_nodes: GoodNodes,
        network: Callable[[], Network],
        clock: Callable[[], float],
    ) -> None:
        self._mesh = mesh
        self._index = index
        self._good_nodes = good_nodes
        self._network = network
        self._clock = clock

    async def find(self, wanted: Wanted, *, home: Region | None) -> Found:
        """Return the candidates; home: the client's region, which is looked at first."""
        pool = _Pool(self._network(), wanted, now=self._clock())
        index = asyncio.create_task(self._ask_index(pool, wanted))
        try:
            await self._search_dht(pool, wanted, home)
            if pool.count < ENOUGH:
                await index
        finally:
            index.cancel()
            await asyncio.gather(index, return_exceptions=True)
        if not pool.count:
            for advert in self._good_nodes.all():
                pool.add_verified_by_node(advert, "cache")
        return pool.found()

    async def _search_dht(self, pool: "_Pool", wanted: Wanted, home: Region | None) -> None:
        first = wanted.region or home
        others = [region for region in Region if region is not first] if wanted.region is None else []
        for deadline_s in (QUICK_LOOK_UP_S, PATIENT_LOOK_UP_S):
            if first is not None:
                await self._look_up(pool, wanted, [first], deadline_s)
            if others and pool.count < ENOUGH:
                await self._look_up(pool, wanted, others, deadline_s)
            if pool.count:
                return

    async def _look_up(self, pool: "_Pool", wanted: Wanted, regions: Iterable[Region], deadline_s: float) -> None:
        keys = [key for region in regions for key in _keys(self._network(), wanted, region)]
        gate = asyncio.Semaphore(MAX_LOOK_UPS)
        await asyncio.gather(*(self._look_up_key(pool, key, gate, deadline_s) for key in keys))

    async def _look_up_key(self, pool: "_Pool", key: DhtKey, gate: asyncio.Semaphore, deadline_s: float) -> None:
        try:
            async with gate:
                found = await self._mesh.find(str(key), deadline_s=deadline_s)
        except GpunodeError as error:
            _log.debug("look-up of %s: %s", key, error, extra={"event": "dht_failed"})
            pool.reasons["the DHT cannot be asked"] += 1
            return
        for record in found.records:
            pool.add_verified_by_node(record.content, "dht")
        pool.reasons.update({f"DHT record refused: {reason}": count for reason, count in found.dropped.items()})

    async def _ask_index(self, pool: "_Pool", wanted: Wanted) -> None:
        try:
            async with asyncio.timeout(INDEX_DEADLINE_S):
                reply = await self._index(wanted)
            pool.add_index(reply.index)
        except (GpunodeError, TimeoutError) as error:
            _log.debug("tracker's index: %s", error, extra={"event": "index_failed"})
            pool.reasons["the tracker's index cannot be read"] += 1


def _keys(network: Network, wanted: Wanted, region: Region) -> list[DhtKey]:
    """Return the keys of a topic; in the minutes after a change of the shard bits, those of before too."""
    info = network.info
    bits = {info.shard_bits, info.shard_bits if info.previous_shard_bits is None else info.previous_shard_bits}
    model = wanted.model or ANY_MODEL
    return [key for count in sorted(bits) for key in keys_to_search(network.id, wanted.task, model, region, count)]


class _Pool:
    """Adverts as they come in, one for each node and model: the newest, and found in the DHT if it was."""

    def __init__(self, network: Network, wanted: Wanted, *, now: float) -> None:
        self._network = network
        self._wanted = wanted
        self._now = now
        self._candidates: dict[tuple[str, str], Candidate] = {}
        self._objections: dict[tuple[str, str], str] = {}
        self.reasons: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return len(self._candidates)

    def found(self) -> Found:
        return Found(list(self._candidates.values()), Counter(self._objections.values()), self.reasons)

    def add_index(self, envelope: Envelope) -> None:
        """Check the index's signature and age, then its adverts one by one."""
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
        refusal = objection(body, self._wanted)
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
