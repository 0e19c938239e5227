"""Who is shut out, as every request asks: a snapshot in memory, made anew when the database says something else."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpunode_tracker import Clock
from gpunode_tracker.api_keys import utc_words
from gpunode_tracker.client_addresses import Network, holder_of, parse_address, parse_network
from gpunode_tracker.errors import Banned


class BanKind(StrEnum):
    """What a ban names."""

    ACCOUNT = "account"
    """By id: all of its keys, and the nodes that are linked to it."""
    ADDRESS = "address"
    """An address or a network, in CIDR notation: every request from there."""
    WORKER = "worker"
    """By id: no jobs, no heartbeats."""
    NODE = "node"
    """By peer id: no certificate, no place in the index, no jobs."""


_ADDRESS: Final = BanKind.ADDRESS  # an enumeration's members are looked up by Python code, and this with every request
_WHOSE: Final = {
    BanKind.ACCOUNT: "This account is",
    BanKind.ADDRESS: "Your address is",
    BanKind.WORKER: "This worker is",
    BanKind.NODE: "This node is",
}


@dataclass(frozen=True)
class Ban:
    """Who is shut out, why, and until when (Unix seconds; None = until the ban is lifted)."""

    kind: BanKind
    subject: str
    reason: str
    created_at: int
    until: int | None = None

    def holds(self, now: float) -> bool:
        """Whether it is in force."""
        return self.until is None or now < self.until

    @property
    def words(self) -> str:
        """What it says to whom it concerns."""
        until = "" if self.until is None else f" until {utc_words(self.until)}"
        return f"{_WHOSE[self.kind]} shut out{until}: {self.reason.rstrip('.')}. The tracker's operator can lift this."


class Bans:
    """All bans of the tracker, looked up in constant time whatever their number.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: Sequence[Ban] = ()
        self._exact: dict[tuple[BanKind, str], Ban] = {}
        self._networks: dict[tuple[int, int], dict[int, Ban]] = {}  # by IP version and host bits, then by prefix

    def replace(self, bans: Sequence[Ban]) -> bool:
        """Take the bans that count from now on; return whether anything is different."""
        if bans == self._all:
            return False
        self._all = bans
        self._exact = {(ban.kind, ban.subject): ban for ban in bans if ban.kind is not BanKind.ADDRESS}
        self._networks = {}
        for ban in bans:
            if ban.kind is BanKind.ADDRESS:
                network = read_network(ban.subject)
                host_bits = network.max_prefixlen - network.prefixlen
                prefixes = self._networks.setdefault((network.version, host_bits), {})
                prefixes[int(network.network_address) >> host_bits] = ban
        return True

    def find(self, kind: BanKind, subject: str) -> Ban | None:
        """Return the ban of a subject that is in force now; for addresses, that of a network around it."""
        if kind is not _ADDRESS:
            ban = self._exact.get((kind, subject))
            return ban if ban is not None and ban.holds(self._clock()) else None
        address = parse_address(subject) if self._networks else None
        if address is None:
            return None
        now = self._clock()
        for (version, host_bits), prefixes in self._networks.items():
            ban = prefixes.get(int(address) >> host_bits) if version == address.version else None
            if ban is not None and ban.holds(now):
                return ban
        return None

    def refuse(self, kind: BanKind, subject: str) -> None:
        """Refuse a subject that is shut out.

        Raises:
            Banned: it is; the message says why and until when.
        """
        ban = self.find(kind, subject) if self._all else None  # every request asks, and often there are no bans at all
        if ban is not None:
            raise Banned(ban.words)

    def of_kind(self, kind: BanKind) -> frozenset[str]:
        """Return the subjects of one kind that are shut out now."""
        now = self._clock()
        return frozenset(ban.subject for ban in self._all if ban.kind is kind and ban.holds(now))


def read_network(text: str) -> Network:
    """Return the network that a ban's subject names; an IPv6 address without prefix length stands for its /64.

    Raises:
        ValueError: neither an address nor a network.
    """
    return parse_network(text if "/" in text else holder_of(text))
