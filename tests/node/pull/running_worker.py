"""A whole pull worker in the tests' process: real parts, a tracker on loopback and a fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_node.config import NodeSettings
from gpunode_node.pull.daemon import PullDaemon
from gpunode_node.pull.parts import PullParts
from gpunode_node.surroundings import Surroundings

from tests.engines.fake_engine import FakeEngine
from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.pull.fake_queue import FakeQueue
from tests.node.running_daemon import MACHINE, ordinary_resident_bytes, settings_of
from tests.node.world import EPOCH


def fake_engine(**settings: Any) -> FakeEngine:
    """Return an engine of the default model that runs on the tests' machine's card; ``settings``: of ``FakeEngine``."""
    return FakeEngine(**{"answer": "Paris.", "model": "smollm2-135m", "device": "GTX"} | settings)


@dataclass
class Workshop:
    """What the worker takes from outside. engines: made in this order; a fresh one where none is left."""

    prepared: list[FakeEngine | FakeMediaEngine] = field(default_factory=list)
    engines: list[Any] = field(default_factory=list)
    answer: str = "Paris."

    async def create_engine(self, entry: CatalogueEntry) -> Any:
        """See ``Surroundings``."""
        engine = self.prepared.pop(0) if self.prepared else fake_engine(answer=self.answer, model=entry.name)
        self.engines.append(engine)
        return engine

    def surroundings(self) -> Surroundings:
        """Return it as the worker takes it."""
        return Surroundings(
            create_engine=self.create_engine,
            detect_machine=lambda: MACHINE,
            resident_bytes=ordinary_resident_bytes,
            unix_time=lambda: float(EPOCH),
            at_ready=lambda: None,  # the tests' process goes on to other things
        )


@dataclass
class Worker:
    """A running worker. parts: once it is ready."""

    running: asyncio.Task[int]
    daemon: PullDaemon
    parts: PullParts

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self.daemon._folder.control


def worker_settings(folder: Path, queue: FakeQueue, **changes: Any) -> NodeSettings:
    """Return settings for a worker at a tracker; its key is the tests' node's."""
    return settings_of(folder, queue, **{"region": "europe"} | changes)


@contextlib.asynccontextmanager
async def running_worker(settings: NodeSettings, workshop: Workshop | None = None) -> AsyncIterator[Worker]:
    """A worker that is ready; it is stopped at the end, if the test has not done it."""
    daemon = PullDaemon(settings, (workshop or Workshop()).surroundings())
    ready: asyncio.Future[PullParts] = asyncio.get_running_loop().create_future()
    mark_ready = daemon._mark_ready

    def noted(parts: PullParts) -> None:
        mark_ready(parts)
        ready.set_result(parts)

    daemon._mark_ready = noted  # type: ignore[method-assign]  # -- the test wants to know
    running = asyncio.create_task(daemon.run())
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    try:
        yield Worker(running, daemon, await ready)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
