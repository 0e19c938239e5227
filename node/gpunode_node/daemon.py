"""The running node: started in order, watched, drained, ended."""

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack

from gpunode_node.config import NodeSettings
from gpunode_node.control_commands import ControlCommands
from gpunode_node.control_server import ControlServer
from gpunode_node.mesh_membership import after_joining
from gpunode_node.node_folder import NodeFolder
from gpunode_node.node_parts import NodeParts, vitals_of
from gpunode_node.process_life import ProcessLife, end_tasks
from gpunode_node.serving import drain_watched, keep_house, work_until
from gpunode_node.startup import Startup, World
from gpunode_node.status import earnings_of, status_of

logger = logging.getLogger(__name__)

FAREWELL_TIMEOUT_S = 5.0
"""What a drain waits for tombstones and for the tracker's ear."""
FLUSH_TIMEOUT_S = 10.0
SETTLE_MARGIN_S = 20.0
"""Jobs end by the drain's limit; their last vouchers follow within this."""


class NodeDaemon:
    """One node, from start to exit code."""

    def __init__(self, settings: NodeSettings, world: World | None = None) -> None:
        self._settings = settings
        self._world = world or World()
        self._folder = NodeFolder(settings.data_dir)
        self._life = ProcessLife(self._folder, self._start, self._serve)

    async def run(self) -> int:
        """Run until a signal; return the exit code: 0 after an orderly end, 1 when a second signal cut it short.

        Raises:
            GpunodeError: the node cannot start, with what to do. NodeMemoryFull: it has drained for want of memory.
        """
        return await self._life.run()

    async def _start(self, stack: AsyncExitStack) -> NodeParts:
        return await Startup(self._settings, self._folder, self._world, stack).run()

    async def _serve(self, parts: NodeParts, stack: AsyncExitStack) -> None:
        await parts.care.start()
        if parts.pause.wanted:
            parts.pause.begin()
        await parts.announcer.announce_when_due()
        parts.link.on_return = lambda: _welcome_back(parts)
        control = ControlServer(self._folder.control, self._commands(parts).table())
        await control.start()
        stack.push_async_callback(control.stop)
        in_touch = [asyncio.create_task(parts.announcer.run()), asyncio.create_task(parts.pause.run())]
        watching = asyncio.create_task(parts.memory.run())
        keeping = [
            *in_touch,
            watching,
            asyncio.create_task(
                parts.link.run(
                    lambda: vitals_of(parts.announcer, parts.intake, parts.distances),
                    self._settings.heartbeat_interval_s,
                )
            ),
            asyncio.create_task(parts.settler.run()),
            asyncio.create_task(parts.distances.run()),
            asyncio.create_task(parts.care.run()),
            asyncio.create_task(keep_house(parts.registry, parts.desk, self._world.unix_time)),
        ]
        stack.push_async_callback(end_tasks, keeping)
        # what was announced alone is stored nowhere else
        renewing = asyncio.create_task(after_joining(parts.membership.mesh, parts.announcer.renew))
        stack.push_async_callback(end_tasks, [renewing])
        self._world.at_ready()
        self._mark_ready(parts)
        await work_until((self._life.asked, parts.memory.full), keeping)
        await end_tasks(in_touch)  # a schedule that opens now must announce nothing any more
        await drain_watched(self._drain(parts), watching)
        parts.memory.raise_if_full()

    def _commands(self, parts: NodeParts) -> ControlCommands:
        return ControlCommands(
            parts.pause,
            parts.link,
            status=lambda: status_of(parts, self._world.unix_time()),
            earnings=lambda: earnings_of(parts),
        )

    def _mark_ready(self, parts: NodeParts) -> None:
        content = {
            "addresses": list(parts.addresses),
            "models": [model.name for model in parts.models],
            "region": parts.place.region,
            "peer_id": parts.identity.peer_id,
        }
        self._folder.mark_ready(content)
        logger.info(
            "ready: %s serves %s", parts.identity.peer_id, ", ".join(content["models"]), extra={"event": "ready"}
        )

    async def _drain(self, parts: NodeParts) -> None:
        """Take no more jobs, say so everywhere, finish what runs, deliver what is owed."""
        logger.info("draining", extra={"event": "draining", "jobs": len(parts.registry.unfinished)})
        parts.intake.draining = True
        deadline_s = self._settings.drain_timeout_s
        parts.registry.drain(deadline_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                await parts.announcer.take_back()
                leaving = parts.link.beat(vitals_of(parts.announcer, parts.intake, parts.distances), leaving=True)
                await asyncio.gather(leaving, parts.announcer.withdraw())
        await parts.registry.wait_ended(deadline_s + SETTLE_MARGIN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                if not await parts.settler.flush():
                    counts = await parts.outbox.counts()
                    logger.warning(
                        "vouchers wait for the next start: %s",
                        parts.settler.problem,
                        extra={"event": "undelivered", **counts},
                    )
        logger.info("drained", extra={"event": "drained"})


def _welcome_back(parts: NodeParts) -> None:
    """The tracker answers again: its mesh peer has lost our adverts, and it has not got what we owe it."""
    parts.announcer.renew()
    parts.settler.retry_now()
