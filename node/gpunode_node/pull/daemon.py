"""The running pull worker: started in order, watched, drained, ended."""

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack

from gpunode_node.config import NodeSettings
from gpunode_node.control_commands import ControlCommands
from gpunode_node.control_server import ControlServer
from gpunode_node.node_folder import NodeFolder
from gpunode_node.process_life import ProcessLife, end_tasks
from gpunode_node.pull.parts import PullParts
from gpunode_node.pull.startup import PullStartup
from gpunode_node.pull.status import earnings_of, status_of
from gpunode_node.serving import drain_watched, keep_house, work_until
from gpunode_node.surroundings import Surroundings

logger = logging.getLogger(__name__)

FAREWELL_TIMEOUT_S = 5.0
"""What a drain waits for the tracker's ear."""
DELIVERY_MARGIN_S = 10.0
"""Jobs end by the drain's limit; their ends are delivered within this, or after the next start."""


class PullDaemon:
    """One pull worker, from start to exit code."""

    def __init__(self, settings: NodeSettings, surroundings: Surroundings | None = None) -> None:
        self._settings = settings
        self._surroundings = surroundings or Surroundings()
        self._folder = NodeFolder(settings.data_dir)
        self._life = ProcessLife(self._folder, self._start, self._serve)

    async def run(self) -> int:
        """Run until a signal; return the exit code: 0 after an orderly end, 1 when a second signal cut it short.

        Raises:
            GpunodeError: the worker cannot start, with what to do. NodeMemoryFull: it has drained for want of memory.
        """
        return await self._life.run()

    async def _start(self, stack: AsyncExitStack) -> PullParts:
        return await PullStartup(self._settings, self._folder, self._surroundings, stack).run()

    async def _serve(self, parts: PullParts, stack: AsyncExitStack) -> None:
        await parts.care.start()
        if parts.pause.wanted:
            parts.pause.begin()
        control = ControlServer(self._folder.control, self._commands(parts).table())
        await control.start()
        stack.push_async_callback(control.stop)
        taking = [asyncio.create_task(parts.taker.run()), asyncio.create_task(parts.pause.run())]
        watching = asyncio.create_task(parts.memory.run())
        keeping = [
            *taking,
            watching,
            asyncio.create_task(parts.link.run(parts.vitals.now, parts.vitals.interval_s)),
            asyncio.create_task(self._hurry_heartbeats(parts)),
            asyncio.create_task(parts.care.run()),
            asyncio.create_task(keep_house(parts.registry, parts.desk, self._surroundings.unix_time)),
        ]
        stack.push_async_callback(end_tasks, keeping)
        self._surroundings.at_ready()
        self._mark_ready(parts)
        await work_until((self._life.asked, parts.memory.full), keeping)
        await end_tasks(taking)
        await drain_watched(self._drain(parts), watching)
        parts.memory.raise_if_full()

    def _commands(self, parts: PullParts) -> ControlCommands:
        return ControlCommands(
            parts.pause,
            parts.link,
            status=lambda: status_of(parts, self._surroundings.unix_time()),
            earnings=lambda: earnings_of(parts),
        )

    def _mark_ready(self, parts: PullParts) -> None:
        models = [model.name for model in parts.models]
        content = {
            "mode": "pull",
            "models": models,
            "region": parts.settings.region or parts.link.region,
            "peer_id": parts.identity.peer_id,
            "worker_id": parts.link.worker_id,
        }
        self._folder.mark_ready(content)
        peer = parts.identity.peer_id
        logger.info("ready: %s pulls jobs for %s", peer, ", ".join(models), extra={"event": "ready"})

    async def _hurry_heartbeats(self, parts: PullParts) -> None:
        """Let heartbeats come sooner from the moment that a job is held."""
        while True:
            await parts.bench.bell.wait()
            parts.link.hurry()

    async def _drain(self, parts: PullParts) -> None:
        """Take no more jobs, say so, finish what runs, deliver it, and say goodbye.

        Heartbeats go on meanwhile: they keep the leases of what runs.
        """
        logger.info("draining", extra={"event": "draining", "jobs": parts.bench.running})
        parts.intake.draining = True
        deadline_s = self._settings.drain_timeout_s
        parts.registry.drain(deadline_s)
        await self._tell(parts)
        if not parts.bench.is_idle:
            if not await parts.bench.wait_idle(deadline_s + DELIVERY_MARGIN_S):
                logger.warning(
                    "results wait for the next start: %s",
                    parts.courier.problem,
                    extra={"event": "undelivered", **parts.outbox.counts()},
                )
            await self._tell(parts)
        logger.info("drained", extra={"event": "drained"})

    async def _tell(self, parts: PullParts) -> None:
        """Tell the tracker how this worker stands, which is offline while it drains."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                await parts.link.beat(await parts.vitals.between_polls())
