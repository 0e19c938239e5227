"""Choosing nodes, pure: which adverts qualify, which are probed, and in what order the nodes are tried."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from gpunode_protocol.adverts import Advert
from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task

from gpunode.types import Source

MAX_PROBES: Final = 8
"""Candidates probed at once at most (facts: Petals)."""
RTT_TIE_MS: Final = 5.0
"""Nodes whose round trips differ by less are equally near: this is the jitter of a home connection, not distance."""


@dataclass(frozen=True)
class Candidate:
    """A verified advert and where it was found."""

    advert: Signed[Advert]
    source: Source

    @property
    def body(self) -> Advert:
        """The advert's body."""
        return self.advert.body

    @property
    def node(self) -> PeerId:
        """The node's peer id."""
        return self.advert.body.peer


@dataclass(frozen=True)
class Wanted:
    """What a job needs. model None = any of the task; region None = anywhere."""

    task: Task
    model: str | None = None
    region: Region | None = None


@dataclass(frozen=True)
class Probe:
    """A node's answer. rtt_ms: the smallest of the last minutes."""

    rtt_ms: float
    active: int
    queued: int
    slots: int
    wait_ms: int = 0
    draining: bool = False

    @property
    def load(self) -> float:
        """Jobs for each slot; 1 and more means waiting."""
        return (self.active + self.queued) / max(1, self.slots)

    @property
    def is_free(self) -> bool:
        """Whether a job would start at once."""
        return self.load < 1 and not self.draining


@dataclass(frozen=True)
class Choice:
    """A node to try, with its probe if it answered one."""

    candidate: Candidate
    probe: Probe | None = None

    @property
    def node(self) -> PeerId:
        """The node's peer id."""
        return self.candidate.node

    @property
    def model(self) -> str:
        """The name under which the node advertises the model."""
        return self.candidate.body.model.name


def why_not(advert: Advert, wanted: Wanted) -> str | None:
    """Return why an advert does not qualify, None if it does."""
    if advert.tombstone:
        return "the node has left"
    if advert.model.task is not wanted.task:
        return f"serves {advert.model.task}, not {wanted.task}"
    if wanted.model is not None and advert.model.name != wanted.model:
        return f"serves another model than {wanted.model}"
    if wanted.region is not None and advert.region is not wanted.region:
        return f"is not in {wanted.region}"
    return None


def to_probe(
    candidates: Sequence[Candidate],
    *,
    home: Region | None,
    blocked: Collection[str],
    random: Random,
    ready: Collection[str] = (),
) -> list[Candidate]:
    """Return at most 8 candidates: healthy ones first, then those that should be near, at random among equals.

    home: the client's region. Adverts state the measured round trip to each region; without it a foreign one is far.
    ready: nodes that answered just now; they come before others, because asking costs a round trip.
    """

    def distance(candidate: Candidate) -> tuple[bool, bool, bool, int]:
        body = candidate.body
        elsewhere = home is not None and body.region is not home
        far_ms = body.rtt_ms.get(str(home), 60_000) if elsewhere else 0
        return candidate.node in blocked, candidate.node not in ready, elsewhere, far_ms

    shuffled = random.sample(list(candidates), len(candidates))
    return sorted(shuffled, key=distance)[:MAX_PROBES]


def rank(
    candidates: Iterable[Candidate], probes: Mapping[PeerId, Probe], *, blocked: Collection[str], random: Random
) -> list[Choice]:
    """Return the candidates in the order in which they are tried.

    Nearest first; among those within 5 ms of each other the least loaded, at random among equals. Nodes that drain
    follow, then those that did not answer the probe, and last those that failed lately.
    """
    groups: tuple[list[Candidate], ...] = ([], [], [], [])
    for candidate in candidates:
        probe = probes.get(candidate.node)
        if candidate.node in blocked:
            groups[3].append(candidate)
        elif probe is None:
            groups[2].append(candidate)
        else:
            groups[1 if probe.draining else 0].append(candidate)
    return [
        Choice(candidate, probes.get(candidate.node))
        for group in groups
        for candidate in _nearest_first(group, probes, random)
    ]


def _nearest_first(group: Sequence[Candidate], probes: Mapping[PeerId, Probe], random: Random) -> list[Candidate]:
    def rtt_ms(candidate: Candidate) -> float:
        probe = probes.get(candidate.node)
        return float("inf") if probe is None else probe.rtt_ms

    def load(candidate: Candidate) -> float:
        probe = probes.get(candidate.node)
        return 0.0 if probe is None else probe.load

    rest = sorted(random.sample(list(group), len(group)), key=rtt_ms)
    ordered: list[Candidate] = []
    while rest:
        limit = rtt_ms(rest[0]) + RTT_TIE_MS
        tied = [candidate for candidate in rest if rtt_ms(candidate) <= limit]
        ordered += sorted(tied, key=load)
        rest = rest[len(tied) :]
    return ordered
