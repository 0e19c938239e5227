"""What this client has measured of nodes, kept between runs: round trips, speeds, failures, lies."""

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_args

from gpunode_protocol.errors import AnswerFault
from gpunode_protocol.regions import Region

from gpunode._observed import NOTHING_OBSERVED, Observed, Timing, observed_of
from gpunode._state import read_json, write_json

_log = logging.getLogger(__name__)

RTT_WINDOW_S: Final = 600.0
"""The smallest round trip of this time counts: queues only ever add, and routes change."""
KEPT_S: Final = 24 * 3600.0
"""The last round trip of a node is a hint for so long: whom to ask first."""
JOBS_KEPT_S: Final = 3600.0
"""Speeds and failures are forgotten after this: a home PC that was slow once is tried again."""
LIES_KEPT_S: Final = 24 * 3600.0
"""A node whose answer did not verify is not asked for so long: unlike a failure, that has no innocent cause."""
MAX_JOBS: Final = 16
"""The last jobs at a node that count: speeds change with what else a home PC does."""
MAX_NODES: Final = 256
"""Nodes that are remembered, each with its models; the one that was measured longest ago gives way, liars last: others
could be measured by the hundred to have one forgotten."""
SAVE_INTERVAL_S: Final = 30.0
SUMMARY_S: Final = 10.0
"""What old jobs tell is reckoned anew this often, and at each new job: a choice among many nodes takes no time then."""

_MOST: Final = 1e15
"""More than any measurement; beyond it floats could not be reckoned with."""

_Rtt = tuple[float, float]
"""Unix seconds, and ms."""


@dataclass
class _Service:
    """Of one model at one node. summary: what they tell, with the instant at which it was reckoned."""

    timings: deque[Timing] = field(default_factory=lambda: deque(maxlen=MAX_JOBS))
    outcomes: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=MAX_JOBS))
    summary: tuple[float, Observed] | None = None

    def observed(self, now: float) -> Observed:
        """Return what the jobs of the last hour tell."""
        if self.summary is None or not 0 <= now - self.summary[0] < SUMMARY_S:
            since = now - JOBS_KEPT_S
            timings = [timing for timing in self.timings if timing.at >= since]
            outcomes = [good for at, good in self.outcomes if at >= since]
            self.summary = now, observed_of(timings, outcomes, None)
        return self.summary[1]


@dataclass
class _Node:
    """rtts: those that are, or will be, the smallest of a window: instants and round trips both grow.

    region: where the node says it is; None = not known, or it is behind a relay, whose detour would be measured.
    lie: when an answer of it did not verify the last time, and by what; None = never.
    """

    region: Region | None = None
    rtts: deque[_Rtt] = field(default_factory=deque)
    services: dict[str, _Service] = field(default_factory=dict)
    lie: tuple[float, AnswerFault] | None = None

    def recent_lie(self, now: float) -> AnswerFault | None:
        """Return by what an answer of the last day did not verify, None if all did."""
        return self.lie[1] if self.lie is not None and now - self.lie[0] < LIES_KEPT_S else None


class Measurements:
    """One client's measurements.

    Args:
        path: the file that keeps them.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._known: dict[str, _Node] | None = None
        self._saved_at = -math.inf

    def rtt_measured(self, node: str, rtt_ms: float, region: Region | None = None) -> None:
        """Note a round trip. region: where the node says it is, None if it is behind a relay."""
        known = self._node(node)
        known.region, rtts = region, known.rtts
        while rtts and rtts[-1][1] >= rtt_ms:
            rtts.pop()
        rtts.append((self._clock(), rtt_ms))
        self._save_now_and_then()

    def rtt_ms(self, node: str) -> float | None:
        """Return the smallest round trip of the last 10 minutes, None without one."""
        since = self._clock() - RTT_WINDOW_S
        known = self._load().get(node)
        return next((rtt_ms for at, rtt_ms in known.rtts if at >= since), None) if known else None

    def job_done(self, node: str, model: str, timing: Timing) -> None:
        """Note a job that came to its end."""
        service = self._node(node).services.setdefault(model, _Service())
        service.timings.append(timing)
        service.outcomes.append((timing.at, True))
        service.summary = None
        self._save_now_and_then()

    def job_failed(self, node: str, model: str) -> None:
        """Note a job that the node did not bring to its end."""
        service = self._node(node).services.setdefault(model, _Service())
        service.outcomes.append((self._clock(), False))
        service.summary = None
        self._save_now_and_then()

    def lied(self, node: str, fault: AnswerFault) -> None:
        """Note an answer that does not verify, at once: such nodes are few, and the next run must know."""
        self._node(node).lie = self._clock(), fault
        self.save()

    def held_against(self, node: str) -> str | None:
        """Return what an answer of a node had that did not verify within the last day, None if all did."""
        known = self._load().get(node)
        lie = None if known is None else known.recent_lie(self._clock())
        return None if lie is None else f"sent an answer that does not verify ({lie}), less than a day ago"

    def last_rtt_ms(self, node: str) -> float | None:
        """Return the same, or else the last one of the day: a hint, and no measurement."""
        known, recent = self._load().get(node), self.rtt_ms(node)
        if recent is not None or known is None or not known.rtts:
            return recent
        at, rtt_ms = known.rtts[-1]
        return rtt_ms if at >= self._clock() - KEPT_S else None

    def rtts_ms(self) -> dict[Region, list[float]]:
        """Return the smallest round trips of the last 10 minutes, one a node, by the region that nodes claim."""
        return self._by_region(self.rtt_ms)

    def last_rtts_ms(self) -> dict[Region, list[float]]:
        """Return the same with the last ones of the day: hints, and no measurements."""
        return self._by_region(self.last_rtt_ms)

    def _by_region(self, rtt_of: Callable[[str], float | None]) -> dict[Region, list[float]]:
        found: dict[Region, list[float]] = {}
        for node, known in self._load().items():
            rtt_ms = rtt_of(node)
            if known.region is not None and rtt_ms is not None:
                found.setdefault(known.region, []).append(rtt_ms)
        return found

    def observed(self, node: str, model: str) -> Observed:
        """Return what is known of a model at a node."""
        known = self._load().get(node)
        if known is None:
            return NOTHING_OBSERVED
        service = known.services.get(model)
        told = NOTHING_OBSERVED if service is None else service.observed(self._clock())
        return replace(told, rtt_ms=self.last_rtt_ms(node))

    def save(self) -> None:
        """Write the file."""
        if self._known is None:
            return
        self._saved_at = self._clock()
        try:
            write_json(self._path, {node: _as_json(known) for node, known in self._known.items()})
        except OSError as error:
            _log.warning("measurements cannot be kept: %s", error, extra={"event": "state_not_written"})

    def _save_now_and_then(self) -> None:
        if not 0 <= self._clock() - self._saved_at < SAVE_INTERVAL_S:
            self.save()

    def _node(self, node: str) -> _Node:
        """Return a node's entry, as the one that was measured last."""
        nodes = self._load()
        known = nodes.pop(node) if node in nodes else _Node()
        nodes[node] = known
        since = self._clock() - RTT_WINDOW_S
        while len(known.rtts) > 1 and known.rtts[0][0] < since:
            known.rtts.popleft()
        while len(nodes) > MAX_NODES:
            self._forget_one(nodes)
        return known

    def _forget_one(self, nodes: dict[str, _Node]) -> None:
        now = self._clock()
        oldest = next(iter(nodes))
        others = list(nodes)[:-1]  # without the one that is measured now
        del nodes[next((node for node in others if nodes[node].recent_lie(now) is None), oldest)]

    def _load(self) -> dict[str, _Node]:
        if self._known is None:
            kept = read_json(self._path)
            self._known = {}
            for node, value in kept.items() if isinstance(kept, dict) else ():
                try:
                    self._known[node] = _from_json(value, now=self._clock())
                except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
                    continue  # a damaged entry counts as absent
        return self._known


def _as_json(known: _Node) -> dict[str, Any]:
    services = {
        model: {"timings": list(service.timings), "outcomes": list(service.outcomes)}
        for model, service in known.services.items()
    }
    return {"region": known.region, "rtts": list(known.rtts), "services": services, "lie": known.lie}


def _from_json(value: Any, *, now: float) -> _Node:
    """Read a node's entry; what lies in the future was written under another clock and is left out."""
    region = value.get("region")
    known = _Node(
        None if region is None else Region(region),
        deque((float(at), _positive(rtt_ms)) for at, rtt_ms in value["rtts"] if at <= now),
    )
    if (lie := value.get("lie")) is not None and lie[0] <= now and lie[1] in get_args(AnswerFault):
        known.lie = float(lie[0]), lie[1]
    for model, kept in value["services"].items():
        service = known.services[model] = _Service()
        timings = (Timing(*map(_positive, item)) for item in kept["timings"])
        service.timings.extend(timing for timing in timings if timing.at <= now)
        service.outcomes.extend((float(at), bool(good)) for at, good in kept["outcomes"] if at <= now)
    return known


def _positive(number: Any) -> Any:
    if not isinstance(number, int | float) or not 0 <= number < _MOST:
        raise ValueError(number)
    return number
