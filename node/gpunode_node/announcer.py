"""Keeps the node's adverts alive in the DHT, and takes them back when it leaves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gpunode_protocol.adverts import ANNOUNCE_INTERVAL_S, Advert
from gpunode_protocol.dht_keys import keys_of_advert
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh.advert_records import record_of
from gpunode_protocol.mesh.records import DhtRecord
from gpunode_protocol.signing import Envelope, Signed

from gpunode_node.advert_builder import content_digest

logger = logging.getLogger(__name__)

CHANGE_INTERVAL_S = 20
"""At most one announcement in so many seconds because something other than the load has changed."""
ANNOUNCE_DEADLINE_S = 30.0
WITHDRAW_DEADLINE_S = 5.0

Build = Callable[[bool], Awaitable[list[Signed[Advert]]]]
"""Returns fresh adverts of all models; True: tombstones."""

_NOBODY: Final = (
    "Nobody keeps this node's adverts, so clients do not find it in the mesh. See that the firewall lets it connect to "
    "others, and that its clock is right; 'gpunode doctor' checks both."
)


class Announcer:
    """``run`` is one task.

    Args:
        announce: stores one record (``Mesh.announce``).
        build: makes the adverts.
        shard_bits: returns the bit counts to announce under.
        wait_for_peers: waits until somebody is there to store records, at most so many seconds.
    """

    def __init__(
        self,
        announce: Callable[[DhtRecord], Awaitable[int]],
        build: Build,
        shard_bits: Callable[[], tuple[int, ...]],
        wait_for_peers: Callable[[float], Awaitable[None]],
    ) -> None:
        self._announce = announce
        self._build = build
        self._shard_bits = shard_bits
        self._wait_for_peers = wait_for_peers
        self._tombstones: list[Signed[Advert]] = []
        self._content: set[bytes] = set()
        self._announced_at: float | None = None
        self.adverts: tuple[Envelope, ...] = ()  #: as announced last, for the tracker's index
        self.silent = False  #: announce nothing: the node is paused
        self.stored = 0  #: copies that the last announcement placed
        self.problem = "not announced yet"  #: why the last announcement failed, empty when it did not

    async def run(self) -> None:
        """Announce every 60 s, and between that when something but the load has changed, for ever."""
        while True:
            await self.announce_when_due()
            await asyncio.sleep(CHANGE_INTERVAL_S)

    async def announce_when_due(self) -> bool:
        """Announce if it is time or something has changed; return whether it did."""
        now = asyncio.get_running_loop().time()
        adverts = await self._build(False)
        if self.silent:
            return False
        content = {content_digest(advert.body) for advert in adverts}
        # a tick early rather than late: the loop's steps do not add up to the interval exactly
        due = self._announced_at is None or now - self._announced_at > ANNOUNCE_INTERVAL_S - CHANGE_INTERVAL_S / 2
        if not due and content == self._content:
            return False
        self._announced_at, self._content = now, content
        self.adverts = tuple(advert.envelope for advert in adverts)
        await self._store(adverts, ANNOUNCE_DEADLINE_S)
        return True

    def renew(self) -> None:
        """Announce at the next occasion: a bootstrap peer that came back has forgotten everything."""
        self._content, self._announced_at = set(), None

    async def take_back(self) -> None:
        """Make tombstones, which are what is advertised from now on."""
        self._tombstones = await self._build(True)
        self.adverts = tuple(advert.envelope for advert in self._tombstones)

    async def withdraw(self, deadline_s: float = WITHDRAW_DEADLINE_S) -> None:
        """Store what ``take_back`` made, as far as ``deadline_s`` seconds allow.

        Right after the death of p2pd nobody is known who could store it, and the adverts would outlive the node.
        """
        began_at = asyncio.get_running_loop().time()
        await self._wait_for_peers(deadline_s)
        left_s = began_at + deadline_s - asyncio.get_running_loop().time()
        await self._store(self._tombstones, max(0.0, left_s))

    async def _store(self, adverts: list[Signed[Advert]], deadline_s: float) -> None:
        records = [record for advert in adverts for record in self._records(advert)]
        try:
            async with asyncio.timeout(deadline_s):
                results = await asyncio.gather(*map(self._announce, records), return_exceptions=True)
        except TimeoutError:
            results = [TimeoutError(f"not stored within {deadline_s:g} s")]
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors:
            if not isinstance(error, GpunodeError | TimeoutError):
                raise error
        self.stored = sum(result for result in results if isinstance(result, int))
        problem = str(errors[0]) if errors else _NOBODY if records and not self.stored else ""
        if problem and not self.problem:
            logger.warning("announcement failed: %s", problem, extra={"event": "announce_failed"})
        elif adverts and not problem and self.problem:
            logger.info("announced", extra={"event": "announced", "records": len(records), "copies": self.stored})
        self.problem = problem

    def _records(self, advert: Signed[Advert]) -> list[DhtRecord]:
        body = advert.body
        keys = keys_of_advert(
            body.network, body.model.task, body.model.name, body.region, body.peer, self._shard_bits()
        )
        return [record_of(key, advert) for key in keys]
