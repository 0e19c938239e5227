"""One client of the discovery bench: joins, asks for a model once cold and many times warm."""

import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn

from gpunode._finder import Placement
from gpunode._probing import FRESH_S
from gpunode._selection import Wanted
from gpunode._session import Session
from gpunode._surroundings import Surroundings
from gpunode._tracker import TrackerClient
from gpunode.config import ClientConfig
from gpunode.errors import TrackerUnreachable
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply

from gpunode_benchmarks.errors import BenchmarkFailed

WARM_QUESTIONS: Final = 50
"""Of each client, one after the other. All of them end before the 10 s after which nodes are looked up again."""

_HOME: Final = Region.EUROPE
_MS_PER_S: Final = 1_000


class Source(StrEnum):
    """Where a client may look."""

    DHT = "dht"
    BOTH = "dht_and_index"


class _WithoutIndex(TrackerClient):
    """Reaches the tracker for everything but its index, which fails at once."""

    async def nodes(self, *, task: str, model: str | None, region: str | None) -> NodesReply:  # noqa: ARG002 -- the parent's signature
        """Fail as if the tracker were away."""
        return _no_index()


def _no_index() -> NoReturn:
    raise TrackerUnreachable("This client asks the DHT only.")


@dataclass(slots=True)
class Durations:
    """Milliseconds from a question until a job could be sent: nodes found, verified, probed and in order.

    cold: the first question after joining. warm: the next ones. stale: one whose probes are older than 2 s.
    """

    cold_ms: list[float] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)
    stale_ms: list[float] = field(default_factory=list)


class _Clock:
    """Monotonic seconds that can be put ahead, instead of waiting."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def put_ahead(self, seconds: float) -> None:
        self._ahead_s += seconds

    def __call__(self) -> float:
        return time.monotonic() + self._ahead_s


async def measure_client(url: str, model: str, source: Source, folder: Path, durations: Durations) -> None:
    """Join with a new key, measure, leave.

    Args:
        url: of the tracker. model: what is asked for. source: where the client may look.
        folder: new, for the client's files.
        durations: gets the figures.

    Raises:
        BenchmarkFailed: no node answered a probe.
    """
    clock = _Clock()
    tracker = TrackerClient if source is Source.BOTH else _WithoutIndex
    config = ClientConfig(tracker=url, state_dir=folder, region=_HOME)
    session = Session(config, Surroundings(create_tracker=tracker.from_config, monotonic=clock))
    try:
        await session.ready()
        durations.cold_ms.append(await _ask(session, model))
        durations.warm_ms += [await _ask(session, model) for _ in range(WARM_QUESTIONS)]
        clock.put_ahead(FRESH_S)
        durations.stale_ms.append(await _ask(session, model))
    finally:
        await session.close()


async def _ask(session: Session, model: str) -> float:
    """Return the milliseconds of one question."""
    started_at = time.perf_counter()
    ready = await session.ready()
    choices = await ready.finder.choices(Placement(Wanted(Task.LLM, model), _HOME))
    elapsed_ms = _MS_PER_S * (time.perf_counter() - started_at)
    if choices[0].probe is None:
        raise BenchmarkFailed("No light node answered a probe. Run it again.")
    return elapsed_ms
