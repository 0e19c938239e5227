"""Where this client is: as set, or else learned behind its jobs' backs and kept between runs."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, get_args

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import RegionsReply

from gpunode._nearest_region import nearest_region
from gpunode._state import read_json, write_json
from gpunode.regions import HomeFrom

_log = logging.getLogger(__name__)

ASK_INTERVAL_S: Final = 3600.0
"""A laptop that travels is placed anew within this time."""
RETRY_INTERVAL_S: Final = 300.0
"""A tracker that did not answer is asked again after this, as for network info."""
JUDGE_INTERVAL_S: Final = 60.0
"""Measurements are looked at this often, while no address tells the region. As long as found nodes are remembered: a
region that was forgotten stays so until nodes of all regions were looked for and some of them probed."""
MEASURED_KEPT_S: Final = 24 * 3600.0
"""A region that was told by round trips is forgotten after this, whatever was measured since: where it has enough nodes
no others are measured, so it would confirm itself for ever."""
PATIENCE_S: Final = 3.0
"""A caller who cannot go on without a region waits so long for the tracker, as for its index."""


@dataclass(frozen=True)
class Home:
    """The client's region. taken_from: None while the region is unknown."""

    region: Region | None = None
    taken_from: HomeFrom | None = None


NOWHERE: Final = Home()
"""Not known, or not yet."""


@dataclass(frozen=True)
class _Kept:
    """What the file holds. learned_at: when the region was first told so; asked_at: when the tracker last answered."""

    home: Home = NOWHERE
    learned_at: float = 0.0
    asked_at: float = 0.0


class RegionsSource(Protocol):
    """The tracker."""

    async def regions(self) -> RegionsReply:
        """Return regions and the caller's place; raises ``ClientError``."""
        ...


class HomeKeeper:
    """Knows the client's region, or finds it out.

    Args:
        told: the region that the settings name; then nobody is asked and nothing is kept.
        tracker: looks the client's address up.
        path: the file that keeps what was learned.
        rtts_ms: returns the round trips that were measured lately, by the region that nodes claim.
        clock: Unix seconds.
    """

    def __init__(
        self,
        told: Region | None,
        tracker: RegionsSource,
        path: Path,
        *,
        rtts_ms: Callable[[], Mapping[Region, Sequence[float]]],
        clock: Callable[[], float],
    ) -> None:
        self._told = told
        self._tracker = tracker
        self._path = path
        self._rtts_ms = rtts_ms
        self._clock = clock
        self._kept_now: _Kept | None = None
        self._judged_at = 0.0
        self._tried_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    def current(self) -> Home:
        """Return what is known at once; it never waits."""
        if self._told is not None:
            return Home(self._told, "setting")
        kept = self._kept()
        if kept.home.taken_from == "rtt" and not self._is_recent(kept.learned_at, MEASURED_KEPT_S):
            self._judged_at = self._clock()  # whoever asks now searches everywhere, and others are measured meanwhile
            self._keep(_Kept(NOWHERE, 0.0, kept.asked_at))
        elif not self._is_recent(self._judged_at, JUDGE_INTERVAL_S):
            self.judge()
        return self._kept().home

    def refresh(self) -> None:
        """Ask the tracker in the background, if it is time to."""
        is_due = not self._is_recent(self._kept().asked_at, ASK_INTERVAL_S)
        is_free = self._asking is None or self._asking.done()
        if self._told is None and is_due and is_free and not self._is_recent(self._tried_at, RETRY_INTERVAL_S):
            self._tried_at = self._clock()
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def settled(self) -> Home:
        """Return the same as ``current``, and wait some seconds for a tracker that is being asked."""
        if self.current().region is None and self._asking is not None:
            await asyncio.wait([self._asking], timeout=PATIENCE_S)
        return self.current()

    def learn(self, reply: RegionsReply) -> None:
        """Take the tracker's answer; where it does not know the address, measurements decide."""
        if self._told is not None:
            return
        kept, now = self._kept(), self._clock()
        if reply.caller is not None and reply.caller.region is not None:
            self._keep(_Kept(Home(reply.caller.region, "geoip"), learned_at=now, asked_at=now))
            return
        if kept.home.taken_from == "geoip":
            kept = _Kept()
        self._keep(replace(kept, asked_at=now))
        if not self._is_recent(self._judged_at, JUDGE_INTERVAL_S):
            self.judge()

    def judge(self) -> None:
        """Look at what was measured, unless the address told the region already."""
        kept = self._kept()
        if self._told is not None or kept.home.taken_from == "geoip":
            return
        self._judged_at = self._clock()
        region = nearest_region(self._rtts_ms(), kept.home.region)
        if region is not kept.home.region:
            home = NOWHERE if region is None else Home(region, "rtt")
            self._keep(_Kept(home, self._judged_at, kept.asked_at))

    async def close(self) -> None:
        """Stop asking: whoever leaves does not wait for it."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            self.learn(await self._tracker.regions())
        except GpunodeError as error:  # an older tracker, or none: jobs go on without a region
            _log.info("where this client is, is not known: %s", error, extra={"event": "home_unknown"})

    def _is_recent(self, at: float, interval_s: float) -> bool:
        return 0 <= self._clock() - at < interval_s

    def _kept(self) -> _Kept:
        if self._kept_now is None:
            try:
                self._kept_now = _from_json(read_json(self._path))
            except (TypeError, ValueError, KeyError, OverflowError):
                self._kept_now = _Kept()  # missing or damaged
        return self._kept_now

    def _keep(self, kept: _Kept) -> None:
        before, self._kept_now = self._kept(), kept
        if kept == before:
            return
        if kept.home != before.home:
            _log.info(
                "this client is in %s, by %s",
                kept.home.region or "a region that is not known",
                kept.home.taken_from or "nothing",
                extra={"event": "home_learned", "region": kept.home.region, "taken_from": kept.home.taken_from},
            )
        try:
            write_json(self._path, _as_json(kept))
        except OSError as error:
            _log.warning("the region cannot be kept: %s", error, extra={"event": "state_not_written"})


def _as_json(kept: _Kept) -> dict[str, Any]:
    return {
        "region": kept.home.region,
        "from": kept.home.taken_from,
        "learned_at": kept.learned_at,
        "asked_at": kept.asked_at,
    }


def _from_json(value: Any) -> _Kept:
    times = float(value["learned_at"]), float(value["asked_at"])
    if value["region"] is None:
        return _Kept(NOWHERE, *times)
    if value["from"] not in get_args(HomeFrom):
        raise ValueError(value["from"])
    return _Kept(Home(Region(value["region"]), value["from"]), *times)
