"""Answers to the look-ups that everybody makes, written once a second at most instead of at every request.

A node that comes, leaves or is shut out is seen at once; that it renewed its adverts or fell silent, a second later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.geoip import Place, Unplaced
from gpunode_tracker.region_overview import regions_reply

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

LIFETIME_S: Final = 1.0
MAX_ANSWERS: Final = 256
"""Of each kind. Signed indices have up to 500 KB, and anybody may ask for any model: these few are the ones in use."""
MAX_BYTES: Final = 32 * 1024 * 1024

_State = tuple[object, ...]


@dataclass(frozen=True)
class _Answer:
    """state: of everything that it says. made_at: Unix seconds."""

    body: bytes
    state: _State
    made_at: float


class _Shelf:
    """Answers of one kind, bounded in number and in bytes."""

    def __init__(self) -> None:
        self._answers: dict[object, _Answer] = {}
        self._bytes = 0

    def find(self, name: object, state: _State, now: float) -> bytes | None:
        """Return an answer that still holds."""
        known = self._answers.get(name)
        if known is None or known.state != state or not 0 <= now - known.made_at < LIFETIME_S:
            return None
        return known.body

    def put(self, name: object, answer: _Answer) -> bytes:
        """Keep an answer and return its body; when there is no room, all of before make some."""
        known = self._answers.pop(name, None)
        self._bytes -= len(known.body) if known is not None else 0
        if len(self._answers) >= MAX_ANSWERS or self._bytes + len(answer.body) > MAX_BYTES:
            self._answers.clear()
            self._bytes = 0
        self._answers[name] = answer
        self._bytes += len(answer.body)
        return answer.body


class LookupAnswers:
    """The answers of one tracker, whose index, keys and workers are used as they are at each call."""

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker
        self._indices = _Shelf()
        self._overviews = _Shelf()
        self._workers = _Shelf()

    def nodes(self, *, task: Task | None, model: str | None, region: Region | None) -> bytes:
        """Return the JSON of the signed index of live adverts that fit."""
        tracker, name = self._tracker, (task, model, region)
        now, state = tracker.clock(), (tracker.index.version, tracker.keys.keyset.body.sequence)
        known = self._indices.find(name, state, now)
        if known is not None:
            return known
        reply = tracker.signed_index(task=task, model=model, region=region)
        return self._indices.put(name, _Answer(reply.model_dump_json(exclude_none=True).encode(), state, now))

    def find_worker(self, worker_id: str, state: _State) -> bytes | None:
        """Return the JSON of a live worker, if it was kept. state: of all that it says."""
        return self._workers.find(worker_id, state, self._tracker.clock())

    def keep_worker(self, worker_id: str, state: _State, body: bytes) -> bytes:
        """Keep such a JSON, and return it."""
        return self._workers.put(worker_id, _Answer(body, state, self._tracker.clock()))

    def regions(self, caller: Place | Unplaced, workers: Mapping[str, int]) -> bytes:
        """Return the JSON of the overview of regions, for a caller who seems to be somewhere."""
        tracker = self._tracker
        now, state = tracker.clock(), (tracker.index.version, tuple(workers.items()))
        known = self._overviews.find(caller, state, now)
        if known is not None:
            return known
        reply = regions_reply(tracker.index.regions(now), caller, tracker.geoip.built_at, workers)
        return self._overviews.put(caller, _Answer(reply.model_dump_json(exclude_none=True).encode(), state, now))
