"""Live adverts in memory, by task, model and region: the second source of nodes beside the DHT."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gpunode_protocol.adverts import MAX_MODELS, Advert, position_of
from gpunode_protocol.certificates import Certificate
from gpunode_protocol.geography import REFERENCE_POINTS, Position, distances_km
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, read_body
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import HEARTBEAT_INTERVAL_S, HEARTBEATS_MISSED, RegionCount

MAX_ANSWER_NODES = 256
"""Adverts in one answer; of more, a random sample is given."""
MAX_SILENCE_S = HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED

MAX_LISTED_OF_PEER = 2 * MAX_MODELS
"""Adverts kept of one peer: all that it may have, and as many that it has just replaced by other models."""

_Key = tuple[Task, str]  # task, model


@dataclass(slots=True)
class Listed:
    """An advert as the index has it.

    heard_at: the node's newest sign of life, Unix seconds. live: False = only remembered, so that an older advert
    cannot bring it back.
    """

    advert: Signed[Advert]
    heard_at: float
    live: bool


class RegionIndex:
    """The newest advert of each peer, task and model. Adverts must have been verified before.

    version: grows when a node begins or ends to serve a model, or says that it is elsewhere; not when it only renews
    its adverts, nor when it falls silent.
    """

    def __init__(self, rng: random.Random) -> None:
        """rng: picks the sample when there are too many."""
        self._rng = rng
        self.version = 0
        self._listed: dict[str, dict[_Key, Listed]] = {}  # by peer
        self._peers_of: dict[_Key, set[str]] = {}  # whose adverts are remembered, by what they serve
        self.on_change: Callable[[str], None] = _ignore  # called with a peer that was heard, or left
        self.on_new: Callable[[], None] = lambda: None  # called when a node begins to serve a model

    def update(self, advert: Signed[Advert], now: float) -> bool:
        """List an advert; return False if a newer one is known. now: Unix seconds.

        A peer's oldest adverts give way when it has too many.
        """
        self.on_change(advert.body.peer)
        return self._update(advert, now)

    def _update(self, advert: Signed[Advert], now: float) -> bool:
        body = advert.body
        of_peer, key = self._listed.setdefault(body.peer, {}), (body.model.task, body.model.name)
        known = of_peer.get(key)
        if known is not None:
            if body.sequence < known.advert.body.sequence:
                return False
            if body.sequence == known.advert.body.sequence and not known.live:
                return False
        of_peer[key] = Listed(advert, now, not body.tombstone)
        self._peers_of.setdefault(key, set()).add(body.peer)
        was_live = known is not None and known.live
        if was_live == body.tombstone or (known is not None and known.advert.body.region is not body.region):
            self.version += 1
        if not body.tombstone and not was_live:
            self.on_new()
        if len(of_peer) > MAX_LISTED_OF_PEER:
            self._forget(body.peer, min(of_peer, key=lambda other: of_peer[other].advert.body.sequence))
        return True

    def _forget(self, peer: str, key: _Key) -> None:
        """Forget one advert of a peer."""
        if self._listed[peer].pop(key).live:
            self.version += 1
        peers = self._peers_of[key]
        peers.discard(peer)
        if not peers:
            del self._peers_of[key]

    def hear(self, peer: str, now: float) -> None:
        """Note a sign of life of a peer."""
        self.on_change(peer)
        for listed in self._of(peer):
            listed.heard_at = now

    def remove(self, peer: str) -> None:
        """Take a peer off; only a newer advert brings it back."""
        self.on_change(peer)
        self.version += 1
        for listed in self._of(peer):
            listed.live = False

    def listed_of(self, peer: str) -> tuple[Listed, ...]:
        """Return what is remembered of a peer."""
        return tuple(self._of(peer))

    def sequence_of(self, peer: str, task: Task, model: str) -> int:
        """Return the sequence of the newest advert that is known, -1 if none is."""
        known = self._listed.get(peer, {}).get((task, model))
        return -1 if known is None else known.advert.body.sequence

    def merge(self, advert: Signed[Advert], heard_at: float, *, live: bool) -> None:
        """List an advert that another replica has, unless a newer one is known."""
        self._update(advert, heard_at)
        body = advert.body
        self.merge_life(body.peer, body.model.task, body.model.name, body.sequence, heard_at=heard_at, live=live)

    def merge_life(self, peer: str, task: Task, model: str, sequence: int, *, heard_at: float, live: bool) -> None:
        """Note what another replica knows of the life of an advert that is known here."""
        known = self._listed.get(peer, {}).get((task, model))
        if known is not None and known.advert.body.sequence == sequence:
            known.heard_at = max(known.heard_at, heard_at)
            self.version += known.live and not live
            known.live = known.live and live

    def remove_revoked(self, serials: frozenset[str]) -> None:
        """Take adverts off whose certificate was revoked."""
        self.version += 1
        for listed in self._all():
            if read_body(Certificate, listed.advert.body.certificate).serial in serials:
                listed.live = False

    def prune(self, now: float) -> None:
        """Forget adverts that have expired: an older one would be refused for its expiry."""
        for peer, of_peer in tuple(self._listed.items()):
            for key, item in tuple(of_peer.items()):
                if item.advert.body.expires_at <= now:
                    self._forget(peer, key)
            if not of_peer:
                del self._listed[peer]

    def find(
        self, now: float, *, task: Task | None = None, model: str | None = None, region: Region | None = None
    ) -> list[Signed[Advert]]:
        """Return live adverts that fit, at most 256."""
        items = self._live(now) if model is None else self._live_with(model, now)
        found = [
            item.advert
            for item in items
            if (task is None or item.advert.body.model.task is task)
            and (region is None or item.advert.body.region is region)
        ]
        return self._rng.sample(found, MAX_ANSWER_NODES) if len(found) > MAX_ANSWER_NODES else found

    def live(self, now: float) -> Iterator[Advert]:
        """Yield all live adverts."""
        return (item.advert.body for item in self._live(now))

    def regions(self, now: float) -> tuple[RegionCount, ...]:
        """Return the number of live nodes of each region, and by model, for all five regions."""
        peers = self.peers(now)
        models: dict[Region, dict[str, int]] = {region: {} for region in Region}
        for item in self._live(now):
            body = item.advert.body
            models[body.region][body.model.name] = models[body.region].get(body.model.name, 0) + 1
        return tuple(
            RegionCount(
                region=region,
                nodes=len(peers[region]),
                models=models[region],
                latitude=point.latitude,
                longitude=point.longitude,
                distances_km=distances_km(point),
            )
            for region, point in REFERENCE_POINTS.items()
        )

    def peers(self, now: float) -> dict[Region, set[str]]:
        """Return the live nodes of each of the five regions."""
        peers: dict[Region, set[str]] = {region: set() for region in Region}
        for item in self._live(now):
            peers[item.advert.body.region].add(item.advert.body.peer)
        return peers

    def position_of(self, peer: str, now: float) -> Position | None:
        """Return where a live node's newest advert says that it is, None if it is silent about it."""
        live = [item.advert.body for item in self._of(peer) if item.live and item.advert.body.expires_at > now]
        newest = max(live, key=lambda body: body.sequence, default=None)
        return None if newest is None else position_of(newest)

    def _live(self, now: float) -> list[Listed]:
        return [item for item in self._all() if _lives(item, now)]

    def _live_with(self, model: str, now: float) -> list[Listed]:
        """Return live adverts of one model, without a look at all others."""
        keys = [(task, model) for task in Task]
        items = [self._listed[peer][key] for key in keys for peer in self._peers_of.get(key, ())]
        return [item for item in items if _lives(item, now)]

    def _of(self, peer: str) -> list[Listed]:
        return list(self._listed.get(peer, {}).values())

    def _all(self) -> Iterator[Listed]:
        return (item for of_peer in self._listed.values() for item in of_peer.values())


def _lives(item: Listed, now: float) -> bool:
    return item.live and item.advert.body.expires_at > now and now - item.heard_at <= MAX_SILENCE_S


def _ignore(_peer: str) -> None:
    """Nobody wants to know."""
