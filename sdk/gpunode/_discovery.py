"""Finding nodes: the DHT, the tracker's signed index beside it, and the nodes that were good before."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from gpunode_protocol.dht_keys import ANY_MODEL, DhtKey, keys_to_search
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh.interface import Mesh
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import NodesReply

from gpunode._advert_pool import AdvertPool, Found, HeldAgainst, nothing_known
from gpunode._good_nodes import GoodNodes
from gpunode._look_up import DHT_PATIENCE_S, LookUp
from gpunode._network import Network
from gpunode._selection import ENOUGH, Wanted

_log = logging.getLogger(__name__)

QUICK_LOOK_UP_S: Final = 1.0
"""What a look-up has found by then is used: waiting longer (for peers that have just died, mostly) adds little."""
PATIENT_LOOK_UP_S: Final = 4.0
"""Only when the quick one has found nothing at all."""
INDEX_DEADLINE_S: Final = 3.0
MAX_LOOK_UPS: Final = 32
"""Keys looked up at once."""

FetchIndex = Callable[[Wanted], Awaitable[NodesReply]]
"""Asks the tracker for its index; raises ``ClientError``."""


class Discovery:
    """Asks the three sources at once and verifies every advert.

    Args:
        mesh: the DHT.
        index: fetches the tracker's index.
        good_nodes: the third source.
        network: returns what is known of the network now.
        clock: Unix seconds.
        held_against: see there.
        dht_patience_s: see ``LookUp``.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        index: FetchIndex,
        good_nodes: GoodNodes,
        network: Callable[[], Network],
        clock: Callable[[], float],
        held_against: HeldAgainst = nothing_known,
        dht_patience_s: float = DHT_PATIENCE_S,
    ) -> None:
        self._mesh = mesh
        self._index = index
        self._good_nodes = good_nodes
        self._network = network
        self._clock = clock
        self._held_against = held_against
        self._dht_patience_s = dht_patience_s
        self._under_way: set[LookUp] = set()

    async def find(self, wanted: Wanted, *, home: Region | None) -> Found:
        """Return all candidates that a search brings; home: the client's region, which is looked at first."""
        return await self.begin(wanted, home=home).whole()

    def begin(self, wanted: Wanted, *, home: Region | None) -> LookUp:
        """Begin to search; the caller awaits the look-up, or cancels it. ``close`` ends it too."""
        pool = AdvertPool(self._network(), wanted, now=self._clock(), held_against=self._held_against)
        look_up = LookUp(pool, wanted.region or home, self._dht_patience_s)
        look_up.start(self._search(look_up, wanted, home))
        self._under_way.add(look_up)
        look_up.on_end(self._under_way.discard)
        return look_up

    async def close(self) -> None:
        """End the searches that go on behind their callers' backs."""
        await asyncio.gather(*(look_up.cancel() for look_up in list(self._under_way)))

    async def _search(self, look_up: LookUp, wanted: Wanted, home: Region | None) -> None:
        pool = look_up.pool
        index = asyncio.create_task(self._ask_index(look_up, wanted))
        try:
            await self._search_dht(look_up, wanted, home)
            if pool.count < ENOUGH:
                await index
        finally:
            index.cancel()
            await asyncio.gather(index, return_exceptions=True)
        if not pool.count:
            for advert in self._good_nodes.all():
                pool.add_verified_by_node(advert, "cache")

    async def _search_dht(self, look_up: LookUp, wanted: Wanted, home: Region | None) -> None:
        first, pool = wanted.region or home, look_up.pool
        others = [region for region in Region if region is not first] if wanted.region is None else []
        for deadline_s in (QUICK_LOOK_UP_S, PATIENT_LOOK_UP_S):
            if first is not None:
                await self._look_up(look_up, wanted, [first], deadline_s)
                look_up.dht_answered()
            if others and pool.count < ENOUGH and not look_up.spares_the_rest:
                await self._look_up(look_up, wanted, others, deadline_s)
            look_up.dht_answered()
            if pool.count:
                return

    async def _look_up(self, look_up: LookUp, wanted: Wanted, regions: Iterable[Region], deadline_s: float) -> None:
        keys = [key for region in regions for key in _keys(self._network(), wanted, region)]
        gate = asyncio.Semaphore(MAX_LOOK_UPS)
        await asyncio.gather(*(self._look_up_key(look_up, key, gate, deadline_s) for key in keys))

    async def _look_up_key(self, look_up: LookUp, key: DhtKey, gate: asyncio.Semaphore, deadline_s: float) -> None:
        pool = look_up.pool
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
        look_up.changed()

    async def _ask_index(self, look_up: LookUp, wanted: Wanted) -> None:
        try:
            async with asyncio.timeout(INDEX_DEADLINE_S):
                reply = await self._index(wanted)
            look_up.pool.add_index(reply.index)
        except (GpunodeError, TimeoutError) as error:
            _log.debug("tracker's index: %s", error, extra={"event": "index_failed"})
            look_up.pool.reasons["the tracker's index cannot be read"] += 1
        look_up.index_answered()


def _keys(network: Network, wanted: Wanted, region: Region) -> list[DhtKey]:
    """Return the keys of a topic; in the minutes after a change of the shard bits, those of before too."""
    info = network.info
    bits = {info.shard_bits, info.shard_bits if info.previous_shard_bits is None else info.previous_shard_bits}
    model = wanted.model or ANY_MODEL
    return [key for count in sorted(bits) for key in keys_to_search(network.id, wanted.task, model, region, count)]
