"""Choosing nodes, pure: which adverts qualify, which are probed, and in what order the nodes are tried."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random
from typing import Final

from gpunode_protocol.adverts import Advert
from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task

from gpunode._cost import NO_COST, Cost
from gpunode._observed import NOTHING_OBSERVED, Observed
from gpunode._probe_answer import Probe
from gpunode.routing import NO_LIMITS, Limits
from gpunode.types import Source

ENOUGH: Final = 8
"""With so many candidates there is no need to look in other regions, or to wait for another source."""
MAX_PROBES: Final = 8
"""Candidates probed at once at most (facts: Petals)."""
TIE_MS: Final = 10.0
"""Nodes whose expected times differ by less are equally good: this is the jitter of a home connection."""
UNKNOWN_RTT_MS: Final = 60_000.0


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
    """What is needed. model None = any of the task; region None = anywhere. own: the account's nodes, if only they."""

    task: Task
    model: str | None = None
    region: Region | None = None
    limits: Limits = NO_LIMITS
    own: frozenset[str] | None = None


class Standing(IntEnum):
    """In what order nodes are tried, whatever they cost."""

    ANSWERED = 0
    DRAINING = 1
    NOT_ASKED = 2  #: eight others should be nearer, or its answer is still awaited
    SILENT = 3  #: asked just now, and did not answer within 2 s
    FAILED = 4  #: within the pause after a failure


@dataclass(frozen=True)
class Choice:
    """A node to try, with its probe if it answered one, and what the job is expected to take there."""

    candidate: Candidate
    probe: Probe | None = None
    cost: Cost = NO_COST
    observed: Observed = NOTHING_OBSERVED
    standing: Standing = Standing.ANSWERED

    @property
    def node(self) -> PeerId:
        """The node's peer id."""
        return self.candidate.node

    @property
    def model(self) -> str:
        """The name under which the node advertises the model."""
        return self.candidate.body.model.name

    @property
    def cost_ms(self) -> float:
        """The expected time to the whole answer."""
        return self.cost.terms.total_ms


def why_not(advert: Advert, wanted: Wanted) -> str | None:
    """Return why an advert is not about what is wanted, None if it is; see ``objection`` for what is demanded of it."""
    if advert.tombstone:
        return "the node has left"
    if advert.model.task is not wanted.task:
        return f"serves {advert.model.task}, not {wanted.task}"
    if wanted.model is not None and advert.model.name != wanted.model:
        return f"serves another model than {wanted.model}"
    return None


def objection(advert: Advert, wanted: Wanted) -> str | None:
    """Return why a node that serves what is wanted may not do it, None if it may."""
    limits = wanted.limits
    fingerprint = advert.model.fingerprint.hex()
    if wanted.region is not None and advert.region is not wanted.region:
        return f"is not in {wanted.region}"
    if wanted.own is not None and advert.peer not in wanted.own:
        return "is not linked to your account"
    if limits.allow_nodes and advert.peer not in limits.allow_nodes:
        return "is not on the list of allowed nodes"
    if advert.peer in limits.deny_nodes:
        return "is on the list of denied nodes"
    if advert.sandbox < limits.min_sandbox:
        return f"has sandbox level {advert.sandbox}, {limits.min_sandbox} is required"
    if limits.fingerprint is not None and fingerprint != limits.fingerprint.lower():
        return f"has another fingerprint ({fingerprint[:12]}…) than is required"
    return None


def standing_of(node: PeerId, probe: Probe | None, *, blocked: Collection[str], asked: Collection[str]) -> Standing:
    """Return where a node stands. asked: whoever has had the time to answer."""
    if node in blocked:
        return Standing.FAILED
    if probe is None:
        return Standing.SILENT if node in asked else Standing.NOT_ASKED
    return Standing.DRAINING if probe.draining else Standing.ANSWERED


@dataclass(frozen=True)
class Knowledge:
    """What decides whom to probe. home: the client's region. rtt_ms: of nodes that this client has measured before.

    blocked: nodes that failed lately. ready: nodes that answered just now.
    """

    home: Region | None = None
    rtt_ms: Mapping[PeerId, float] = field(default_factory=dict)
    blocked: Collection[str] = ()
    ready: Collection[str] = ()


def to_probe(candidates: Sequence[Candidate], known: Knowledge, random: Random) -> list[Candidate]:
    """Return at most 8 candidates: healthy ones first, then those that should be near, at random among equals.

    Own measurements count before what adverts state: a node can lie about its region, not about its distance. Nodes
    that answered just now come before others, because asking costs a round trip.
    """

    def distance(candidate: Candidate) -> tuple[bool, bool, float]:
        node = candidate.node
        return node in known.blocked, node not in known.ready, _presumed_rtt_ms(candidate, known)

    shuffled = random.sample(list(candidates), len(candidates))
    return sorted(shuffled, key=distance)[:MAX_PROBES]


def to_measure(candidates: Iterable[Candidate], measured: Collection[PeerId], random: Random) -> list[Candidate]:
    """Return at most 8 candidates that are not measured yet, of each region in turn, those with the fewest first.

    So each region soon has enough of them to tell where the client is, however few of the nodes are there. Nodes behind
    relays are left out: their detour would be measured.
    """
    direct = {item.node: item for item in candidates if item.body.path != "relayed"}
    in_region = Counter(item.body.region for item in direct.values() if item.node in measured)
    turns: list[tuple[int, Candidate]] = []
    for item in random.sample(list(direct.values()), len(direct)):
        if item.node not in measured:
            turns.append((in_region[item.body.region], item))
            in_region[item.body.region] += 1
    return [item for _, item in sorted(turns, key=lambda turn: turn[0])[:MAX_PROBES]]


def _presumed_rtt_ms(candidate: Candidate, known: Knowledge) -> float:
    body = candidate.body
    if candidate.node in known.rtt_ms:
        return known.rtt_ms[candidate.node]
    if known.home is None or body.region is known.home:
        return 0.0
    return float(body.rtt_ms.get(str(known.home), UNKNOWN_RTT_MS))


def rank(choices: Iterable[Choice], random: Random) -> list[Choice]:
    """Return the choices in the order in which they are tried.

    By standing, then by expected time; of those within 10 ms of the best, at random, the likelier the more weight.
    """
    rest = sorted(choices, key=lambda choice: (choice.standing, choice.cost_ms))
    ordered: list[Choice] = []
    while rest:
        best = rest[0]
        tied = [
            choice for choice in rest if choice.standing == best.standing and choice.cost_ms <= best.cost_ms + TIE_MS
        ]
        ordered += sorted(tied, key=lambda choice: random.random() ** (1 / weight(choice)), reverse=True)
        rest = rest[len(tied) :]
    return ordered


def weight(choice: Choice) -> float:
    """Return the plan's weight of a node: memory of its card, times success rate; a tenth when it has no free slot."""
    memory_mb = choice.candidate.body.gpu.memory_mb
    base = 100 + (50 if memory_mb >= 24 * 1024 else 20 if memory_mb >= 12 * 1024 else 0)
    is_busy = choice.probe is not None and not choice.probe.is_free
    return base * (1 - choice.observed.failure_share) * (0.1 if is_busy else 1.0)
