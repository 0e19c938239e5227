"""Whose stated place to doubt, of all who contradict each other. Pure.

A contradiction says that one of two is wrong, not who. So those are doubted first whom most accounts contradict, and
what they measured themselves no longer counts. Where two sides of equal strength contradict each other, nobody knows,
and neither is doubted nor heard. The limit of this: three accounts that lie alike, about their own places or about what
they measured, can have a node doubted unless more accounts contradict them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.identity import PeerId

ACCOUNTS_NEEDED: Final = 3
"""So many different accounts must agree."""
PLACE_DOUBTFUL: Final = "cannot be where it says: measured round trips contradict it"
"""What is said of a node whose place is doubtful, after its name."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An observer measured a round trip that is too short for both stated places.

    account: of the observer. A node without one is no observer: keys cost nothing, accounts are the operator's to give.
    peer_account: of the node that answered, None without one.
    """

    observer: PeerId
    account: str
    peer: PeerId
    peer_account: str | None


def doubtful_nodes(contradictions: Iterable[Contradiction]) -> dict[PeerId, int]:
    """Return the nodes whose stated place is to be doubted, and how many accounts contradict each, most first."""
    told = [item for item in contradictions if item.account != item.peer_account]
    doubted: dict[PeerId, int] = {}
    undecided: set[PeerId] = set()
    while True:
        settled = doubted.keys() | undecided
        heard = [item for item in told if item.observer not in settled and item.peer not in settled]
        counts = _accounts_against(heard)
        most = max(counts.values(), default=0)
        if most < ACCOUNTS_NEEDED:
            return doubted
        leaders = {peer for peer, count in counts.items() if count == most}
        clashing = {
            peer for item in heard if {item.observer, item.peer} <= leaders for peer in (item.observer, item.peer)
        }
        undecided |= clashing
        doubted |= dict.fromkeys(sorted(leaders - clashing), most)


def _accounts_against(contradictions: Iterable[Contradiction]) -> Mapping[PeerId, int]:
    accounts: dict[PeerId, set[str]] = {}
    for item in contradictions:
        accounts.setdefault(item.peer, set()).add(item.account)
    return {peer: len(told) for peer, told in accounts.items()}
