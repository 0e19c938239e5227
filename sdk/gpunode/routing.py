"""Which nodes may do a job, and why one of them is chosen: what callers may demand and what they are told."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import parse_peer_id
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT

from gpunode.errors import InvalidRequest
from gpunode.regions import HomeFrom
from gpunode.types import Source

MAX_SANDBOX_LEVEL: Final = 3
_FINGERPRINT_DIGITS: Final = 64
_ANYTHING_CREDITS: Final = 1e15
"""More than there are; beyond it floats could not be multiplied."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node must fulfil to get a job; without arguments every node may.

    allow_nodes: only these peer ids; empty = all. deny_nodes: never these. own_nodes: only nodes that are linked to the
    caller's account. max_price_credits: what the job may cost at most, all its parts together where nodes fail; None =
    anything. min_sandbox: isolation level of the engine that the node states, 0 to 3. fingerprint: of the model's
    weights and settings, 64 hex digits. widen: also look beyond the client's own region where that has few nodes.
    exclude_doubtful_places: no nodes of which the tracker says that measured round trips contradict where they say that
    they are.

    Raises:
        InvalidRequest: a value that no node could fulfil.
    """

    allow_nodes: frozenset[str] = frozenset()
    deny_nodes: frozenset[str] = frozenset()
    own_nodes: bool = False
    max_price_credits: float | None = None
    min_sandbox: int = 0
    fingerprint: str | None = None
    widen: bool = True
    exclude_doubtful_places: bool = False

    @property
    def max_price_microcredits(self) -> int | None:
        """The maximum price in micro-credits, None = anything."""
        if self.max_price_credits is None:
            return None
        return round(min(self.max_price_credits, _ANYTHING_CREDITS) * MICROCREDITS_PER_CREDIT)

    def __post_init__(self) -> None:
        for name in ("allow_nodes", "deny_nodes"):
            nodes = frozenset(getattr(self, name))
            for node in nodes:
                _check_peer(node)
            object.__setattr__(self, name, nodes)
        if self.max_price_credits is not None and not 0 <= self.max_price_credits < math.inf:
            raise InvalidRequest("The maximum price is a number of credits, 0 or more.")
        if not 0 <= self.min_sandbox <= MAX_SANDBOX_LEVEL:
            raise InvalidRequest(f"Sandbox levels go from 0 to {MAX_SANDBOX_LEVEL}, not {self.min_sandbox}.")
        if self.fingerprint is not None and not _is_fingerprint(self.fingerprint):
            raise InvalidRequest(
                f"A fingerprint has {_FINGERPRINT_DIGITS} hex digits; 'gpunode route --json' shows them."
            )


def _check_peer(node: str) -> None:
    try:
        parse_peer_id(node)
    except GpunodeError:
        raise InvalidRequest(f"{node!r} is no whole node id; 'gpunode nodes --json' shows them.") from None


def _is_fingerprint(text: str) -> bool:
    return len(text) == _FINGERPRINT_DIGITS and all(digit in "0123456789abcdef" for digit in text.lower())


NO_LIMITS: Final = Limits()
"""Every node may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTerms:
    """The expected time to the whole answer, in milliseconds, term by term.

    rtt_ms: one round trip. queue_ms: until a slot is free. model_load_ms: until the model is in memory. prefill_ms:
    reading the input. decode_ms: making the output, alone on the node. sharing_ms: what jobs that run beside it add.
    relayed_ms, failures_ms, silence_ms, unknown_speed_ms: see ``docs/routing.md``.
    """

    rtt_ms: float = 0.0
    queue_ms: float = 0.0
    model_load_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    sharing_ms: float = 0.0
    relayed_ms: float = 0.0
    failures_ms: float = 0.0
    silence_ms: float = 0.0
    unknown_speed_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The sum."""
        work_ms = self.rtt_ms + self.queue_ms + self.model_load_ms + self.prefill_ms + self.decode_ms + self.sharing_ms
        return work_ms + self.relayed_ms + self.failures_ms + self.silence_ms + self.unknown_speed_ms

    def by_name(self) -> dict[str, float]:
        """Return the terms by their names without ``_ms``."""
        return {term.name.removesuffix("_ms"): getattr(self, term.name) for term in fields(self)}


RttFrom = Literal["probe", "before", "advert", "unknown"]
"""Asked just now, measured by this client before, stated by the node for the client's region, or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCandidate:
    """One node and model that could do the job.

    cost_ms: the sum of ``terms``. rtt_from: see ``RttFrom``. speed_from: whether speed is the client's own measurement.
    tokens_per_s: output units a second that were reckoned with (tokens; image units; ms of audio). active, queued,
    slots: as the probe told, None without one. why: why it was chosen or lost. place_doubtful: whether measured round
    trips contradict its region or coordinates, as the tracker says.
    """

    node: str
    region: str
    country: str
    model: str
    fingerprint: str
    path: str
    sandbox: int
    source: Source
    chosen: bool
    why: str
    cost_ms: float
    terms: CostTerms
    rtt_from: RttFrom
    speed_from: Literal["observed", "advertised"]
    tokens_per_s: float
    active: int | None
    queued: int | None
    slots: int | None
    place_doubtful: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteExplanation:
    """How a job would be routed now.

    input_units, output_units: the job's size that was reckoned with. candidates: best first. home: the client's region,
    which is searched first, None = not known; home_from: see ``HomeFrom``. excluded: nodes that do not qualify, counted
    by reason.
    """

    task: str
    model: str | None
    input_units: int
    output_units: int
    candidates: tuple[RouteCandidate, ...]
    home: str | None = None
    home_from: HomeFrom | None = None
    excluded: Mapping[str, int] = field(default_factory=dict)

    @property
    def chosen(self) -> RouteCandidate:
        """The node that would get the job."""
        return self.candidates[0]
