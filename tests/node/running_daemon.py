"""A whole node in the tests' process: real parts, a tracker on loopback, a fake mesh and a fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.devices import Gpu, Machine
from gpunode_node.config import NodeSettings
from gpunode_node.daemon import NodeDaemon
from gpunode_node.startup import World
from gpunode_protocol.mesh import Mesh, MeshConfig, RecordValidator

from tests.engines.fake_engine import FakeEngine
from tests.node.fake_mesh import FakeMesh
from tests.node.fake_tracker import FakeTracker
from tests.node.world import EPOCH, NODE

MEBIBYTE = 1024 * 1024
MACHINE = Machine(
    physical_cores=1,
    logical_cores=1,
    memory_bytes=2**33,
    available_memory_bytes=2**33,
    gpus=(Gpu(name="GTX", memory_bytes=8 * 1024 * MEBIBYTE, free_memory_bytes=0),) * 2,
)


def ordinary_resident_bytes() -> int:
    """Return what a node takes usually; the tests' own process takes whatever the tests before have loaded."""
    return 300 * 2**20


@dataclass
class FakeWorld:
    """What the node takes from outside, for the test to look at."""

    meshes: list[FakeMesh] = field(default_factory=list)
    engines: list[FakeEngine] = field(default_factory=list)
    answer: str = "Paris."
    device: str = "GTX"
    resident_bytes: Callable[[], int] = ordinary_resident_bytes
    check_ports: Callable[[MeshConfig], None] = lambda _: None  # tests' ports are nobody's
    times_ready: int = 0

    def at_ready(self) -> None:
        """See ``Surroundings``; the tests' process goes on to other things."""
        self.times_ready += 1

    def create_mesh(self, config: MeshConfig, _: RecordValidator) -> Mesh:
        """See ``World``."""
        self.meshes.append(FakeMesh(config))
        return self.meshes[-1]

    async def create_engine(self, entry: CatalogueEntry) -> FakeEngine:
        """See ``World``."""
        self.engines.append(FakeEngine(answer=self.answer, model=entry.name, device=self.device))
        return self.engines[-1]

    def world(self) -> World:
        """Return it as the node takes it."""
        return World(
            create_mesh=self.create_mesh,
            check_ports=self.check_ports,
            create_engine=self.create_engine,
            detect_machine=lambda: MACHINE,
            resident_bytes=self.resident_bytes,
            unix_time=lambda: EPOCH,
            at_ready=self.at_ready,
        )


def settings_of(folder: Path, tracker: FakeTracker, **changes: Any) -> NodeSettings:
    """Return settings for a node at a tracker; its key is the tests' node's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    key = folder / "identity.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(NODE.to_libp2p())
    return NodeSettings.load({"bootstrap": tracker.url, "data_dir": folder, "name": "box"} | changes)


@contextlib.asynccontextmanager
async def running_daemon(settings: NodeSettings, fakes: FakeWorld) -> AsyncIterator[asyncio.Task[int]]:
    """A daemon that is ready; it is stopped at the end, if the test has not done it."""
    daemon = NodeDaemon(settings, fakes.world())
    ready, mark_ready = asyncio.Event(), daemon._mark_ready

    def noted(parts: Any) -> None:
        mark_ready(parts)
        ready.set()

    daemon._mark_ready = noted  # type: ignore[method-assign]  # -- the test wants to know
    running = asyncio.create_task(daemon.run())
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
