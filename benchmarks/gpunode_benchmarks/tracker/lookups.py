"""Look-ups at the tracker beside a bare aiohttp handler that returns the same bytes, in turn, in the same run."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.stats import median, pair_ratios
from gpunode_benchmarks.tracker.http_line import HttpLine, request_bytes
from gpunode_benchmarks.tracker.processes import Running

LINES: Final = 8
"""Connections at once: enough that neither server ever waits for a request."""
WARM_UP_S: Final = 0.2
_CLOCK_S: Final = 0.01
"""In steps of which Linux counts processor time."""
_US_PER_S: Final = 1_000_000


@dataclass
class Turns:
    """What one server did in its turns. rates: requests/s. cpu_us: processor time of a request, microseconds."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


@dataclass
class LookUp:
    """One kind, with the turns of both servers, in pairs."""

    name: str
    path: str
    headers: Mapping[str, str]
    tracker: Turns = field(default_factory=Turns)
    bare: Turns = field(default_factory=Turns)

    @property
    def ratios(self) -> Sequence[float]:
        """Requests/s, tracker / bare of each pair."""
        return pair_ratios(self.tracker.rates, self.bare.rates)

    @property
    def ratio(self) -> float:
        """The median of the pairs."""
        return median(self.ratios)

    @property
    def cpu_ratios(self) -> Sequence[float]:
        """Processor time of a request, bare / tracker of each pair: the same, if the processor does nothing else."""
        return pair_ratios(self.bare.cpu_us, self.tracker.cpu_us)


async def bodies_of(tracker: Running, look_ups: Sequence[LookUp]) -> dict[str, bytes]:
    """Return what the tracker answers to each, by path without its query.

    Raises:
        BenchmarkFailed: it refuses one.
    """
    line = await HttpLine.open("127.0.0.1", tracker.port)
    bodies = {}
    for each in look_ups:
        answer = await line.ask(request_bytes("GET", each.path, dict(each.headers)))
        if answer.status != 200:
            raise BenchmarkFailed(f"GET {each.path} was answered {answer.status}: {answer.body[:200]!r}.")
        bodies[each.path.partition("?")[0]] = answer.body
    line.close()
    return bodies


async def measure_look_ups(
    tracker: Running, bare: Running, look_ups: Sequence[LookUp], *, pairs: int, turn_s: float
) -> None:
    """Let both answer each kind in turn; every second pair has them the other way round.

    Args:
        turn_s: seconds of one turn.
    """
    for server in (tracker, bare):
        for each in look_ups:
            await _take_turn(server, each, Turns(), WARM_UP_S)
    for number in range(pairs):
        for each in look_ups:
            sides = [(tracker, each.tracker), (bare, each.bare)]
            for server, turns in sides if number % 2 == 0 else reversed(sides):
                await _take_turn(server, each, turns, turn_s)


async def _take_turn(server: Running, look_up: LookUp, turns: Turns, seconds: float) -> None:
    """Let a server answer for some time."""
    request = request_bytes("GET", look_up.path, dict(look_up.headers))
    lines = [await HttpLine.open("127.0.0.1", server.port) for _ in range(LINES)]
    cpu_s, began_at = server.cpu_s, time.perf_counter()
    counts = await asyncio.gather(*(_ask_until(line, request, began_at + seconds) for line in lines))
    turns.rates.append(sum(counts) / (time.perf_counter() - began_at))
    turns.cpu_us.append(max(server.cpu_s - cpu_s, _CLOCK_S) * _US_PER_S / sum(counts))
    for line in lines:
        line.close()


async def _ask_until(line: HttpLine, request: bytes, ends_at: float) -> int:
    count = 0
    while time.perf_counter() < ends_at:
        answer = await line.ask(request)
        if answer.status != 200:
            raise BenchmarkFailed(f"A look-up was answered {answer.status}: {answer.body[:200]!r}.")
        count += 1
    return count
