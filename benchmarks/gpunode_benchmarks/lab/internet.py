"""The lab's internet: what becomes of every packet. Pure: time and chance are given.

Packets of one direction stay in order, as on a real path of one route: jitter delays those behind it too.
"""

import heapq
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gpunode_benchmarks.lab.world import OneWay, World

MOST_UNDERWAY: Final = 100_000
"""Packets on all paths together, at most 150 MB; beyond it they are dropped, as by a full router."""

LATE_S: Final = 0.002
"""A packet delivered so much after its time is counted as late."""

_SOURCE: Final = slice(12, 16)  # of an IPv4 header (RFC 791)
_DESTINATION: Final = slice(16, 20)
_IPV4: Final = 4


@dataclass(slots=True)
class Traffic:
    """Counts since the start.

    delivered, delivered_bytes: with IP headers. lost: by chance. cut: on a cut link. dropped: no such host, no IPv4, a
    false sender, or too much underway. late: delivered more than 2 ms after their time; worst_late_s: by how much.
    """

    delivered: int = 0
    delivered_bytes: int = 0
    lost: int = 0
    cut: int = 0
    dropped: int = 0
    late: int = 0
    worst_late_s: float = 0.0


@dataclass(slots=True)
class _Line:
    """One direction between two hosts."""

    target: str
    terms: OneWay
    is_cut: bool = False
    free_at: float = 0.0  # nothing arrives before what was sent earlier


_Underway = tuple[float, int, _Line, bytes]
"""When it is due, its number (no two are equal), its line and the packet; a tuple, because a heap compares often."""


class Internet:
    """Takes packets from hosts and says when to deliver them.

    Args:
        world: the hosts and the terms of each pair.
        chance: for jitter and losses.
    """

    def __init__(self, world: World, chance: random.Random) -> None:
        self.traffic = Traffic()
        self._chance = chance
        self._own = {host: socket.inet_aton(world.address_of(host)) for host in world.hosts}
        self._lines: Mapping[str, dict[bytes, _Line]] = {
            source: {
                self._own[target]: _Line(target, world.one_way(source, target))
                for target in world.hosts
                if target != source
            }
            for source in world.hosts
        }
        self._underway: list[_Underway] = []
        self._number = 0

    @property
    def next_due_at(self) -> float | None:
        """When the next packet arrives; None if nothing is underway."""
        return self._underway[0][0] if self._underway else None

    def send(self, source: str, packet: bytes, now: float) -> None:
        """Take a packet from a host.

        Args:
            source: the host.
            packet: with its IP header.
            now: monotonic seconds.
        """
        line = self._lines[source].get(packet[_DESTINATION])
        if line is None or packet[0] >> 4 != _IPV4 or packet[_SOURCE] != self._own[source]:
            self.traffic.dropped += 1
        elif line.is_cut:
            self.traffic.cut += 1
        elif line.terms.loss and self._chance.random() < line.terms.loss:
            self.traffic.lost += 1
        elif len(self._underway) >= MOST_UNDERWAY:
            self.traffic.dropped += 1
        else:
            jitter_s = line.terms.jitter_s and self._chance.uniform(0, line.terms.jitter_s)
            line.free_at = max(line.free_at, now + line.terms.delay_s + jitter_s)
            self._number += 1
            heapq.heappush(self._underway, (line.free_at, self._number, line, packet))

    def deliver(self, now: float) -> Iterator[tuple[str, bytes]]:
        """Yield what has arrived by now: host and packet. What was underway on a link that was cut is gone."""
        while self._underway and self._underway[0][0] <= now:
            due_at, _, line, packet = heapq.heappop(self._underway)
            if line.is_cut:
                self.traffic.cut += 1
                continue
            self.traffic.delivered += 1
            self.traffic.delivered_bytes += len(packet)
            late_s = now - due_at
            if late_s > LATE_S:
                self.traffic.late += 1
            self.traffic.worst_late_s = max(self.traffic.worst_late_s, late_s)
            yield line.target, packet

    def set_cut(self, first: str, second: str, *, is_cut: bool) -> None:
        """Cut or mend the link between two hosts, both directions."""
        for source, target in ((first, second), (second, first)):
            self._lines[source][self._own[target]].is_cut = is_cut
