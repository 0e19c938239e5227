"""Pausing and resuming a running node: whoever has a reason sets it, and the node follows when none is left."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from gpunode_engines.engine_pool import EnginePool

from gpunode_node.errors import StateUnwritable
from gpunode_node.job_intake import JobIntake
from gpunode_node.job_registry import JobRegistry
from gpunode_node.state_files import read_json, write_json

logger = logging.getLogger(__name__)

OWNER: Final = "owner"
_OWNERS_REASON: Final = "its owner paused it (`gpunode resume` ends that)"
_POOL_REASON: Final = "paused"

State = Literal["serving", "pausing", "paused"]


class Presence(Protocol):
    """How others know that this node serves."""

    def hush(self) -> None:
        """Say nothing more of it from now on."""
        ...

    async def leave(self) -> None:
        """Tell everybody that it does not serve for now."""
        ...

    async def come_back(self) -> None:
        """Tell everybody that it serves again."""
        ...


@dataclass(frozen=True, kw_only=True)
class PausedParts:
    """What a pause acts on.

    file: keeps the owner's pause across restarts. drain_timeout_s: what running jobs get.
    """

    intake: JobIntake
    registry: JobRegistry
    presence: Presence
    pool: EnginePool
    file: Path
    drain_timeout_s: float


class Pause:
    """``run`` is one task; the rest may be called meanwhile."""

    def __init__(self, parts: PausedParts) -> None:
        self._parts = parts
        self._reasons: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._recalled: tuple[str, ...] = ()
        self.state: State = "serving"
        if read_json(parts.file) is not None:
            self._reasons[OWNER] = _OWNERS_REASON

    @property
    def wanted(self) -> bool:
        """Whether there is a reason to pause."""
        return bool(self._reasons)

    def to_map(self) -> dict[str, Any]:
        """Return what the owner is shown."""
        jobs = len(self._parts.registry.unfinished)
        return {"state": self.state, "reasons": list(self._reasons.values()), "jobs_unfinished": jobs}

    def ask_owner(self, *, paused: bool) -> None:
        """Do as the owner says, and keep it across restarts.

        Raises:
            StateUnwritable: it cannot be kept; the node does it for now.
        """
        self.set_reason(OWNER, _OWNERS_REASON if paused else "")
        file = self._parts.file
        if paused:
            write_json(file, {"paused": True})
            return
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise StateUnwritable(f"{file} cannot be removed: {error.strerror}.") from error

    def set_reason(self, source: str, reason: str) -> None:
        """Say why the node should not serve now, or with an empty reason that this source has none any more."""
        known = self._reasons.get(source, "")
        if reason:
            self._reasons[source] = reason
        else:
            self._reasons.pop(source, None)
        if bool(known) != bool(reason):
            event = "pause_reason" if reason else "pause_reason_gone"
            logger.info("%s: %s", event.replace("_", " "), reason or known, extra={"event": event, "source": source})
            self._changed.set()

    def begin(self) -> None:
        """Take no jobs from now on; called before the first announcement where there is a reason at the start."""
        self._parts.intake.paused = True
        self._parts.presence.hush()
        self.state = "pausing"

    async def run(self) -> None:
        """Follow the reasons, for ever."""
        while True:
            self._changed.clear()
            if self.wanted and self.state != "paused":
                await self._go_down()
            elif not self.wanted and self.state != "serving":
                await self._come_up()
            else:
                await self._changed.wait()

    async def _go_down(self) -> None:
        """Say so everywhere, finish what runs, give the memory back; a reason that goes away in between ends that."""
        parts = self._parts
        self.begin()
        logger.info("pausing", extra={"event": "pausing", "jobs": len(parts.registry.unfinished)})
        parts.registry.drain(parts.drain_timeout_s)
        await parts.presence.leave()
        if not await self._jobs_ended():
            return
        self._recalled = parts.pool.loaded()
        parts.pool.close(_POOL_REASON)
        await parts.pool.unload_all()
        self.state = "paused"
        logger.info("paused", extra={"event": "paused"})

    async def _jobs_ended(self) -> bool:
        """Wait for the jobs; return False when the pause is over before they are."""
        while self._parts.registry.unfinished:
            ended = asyncio.create_task(self._parts.registry.wait_ended(self._parts.drain_timeout_s))
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (ended, changed):
                    task.cancel()
                await asyncio.gather(ended, changed, return_exceptions=True)
            self._changed.clear()
            if not self.wanted:
                return False
        return True

    async def _come_up(self) -> None:
        parts = self._parts
        parts.pool.reopen(_POOL_REASON)
        parts.pool.recall(self._recalled)
        parts.intake.paused = False
        self.state = "serving"
        logger.info("serving again", extra={"event": "resumed"})
        await parts.presence.come_back()
