"""A small filled tracker in the tests' own process."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.filling import Filled, fill
from gpunode_benchmarks.tracker.http_line import Address
from gpunode_benchmarks.tracker.server_process import ServerProcess
from gpunode_benchmarks.tracker.tracker_process import bench_settings
from gpunode_tracker.app import create_app
from gpunode_tracker.tracker import Tracker


@pytest.fixture(scope="session")
def small() -> Effort:
    """What a test has time for."""
    return Effort(
        queued_jobs=80,
        workers=12,
        nodes=2,
        lines=2,
        rounds=2,
        round_s=0.01,
        takers=3,
        keyed_takers=2,
        takes=2,
        submit_s=0.01,
        heartbeat_interval_s=0.06,
        heartbeat_s=0.06,
    )


@dataclass(frozen=True)
class FilledFolder:
    """A data folder, and who may use its tracker."""

    path: Path
    filled: Filled


@pytest_asyncio.fixture
async def folder(tmp_path: Path, small: Effort) -> FilledFolder:
    """A tracker's data folder with a short queue."""
    path = tmp_path / "t"
    return FilledFolder(path, await fill(bench_settings(path), small))


@dataclass(frozen=True)
class Served:
    """A filled tracker that answers."""

    filled: Filled
    tracker: Tracker
    server: ServerProcess
    url: str


@pytest_asyncio.fixture
async def served(folder: FilledFolder) -> AsyncIterator[Served]:
    """A filled tracker on loopback."""
    tracker = await Tracker.open(bench_settings(folder.path))
    async with TestServer(create_app(tracker)) as server:
        address = Address(str(server.host), int(server.port or 0))
        url = f"http://{address.host}:{address.port}"
        yield Served(folder.filled, tracker, ServerProcess(address, os.getpid()), url)
