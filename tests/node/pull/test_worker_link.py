"""Registration, heartbeats and tokens; ``test_daemon`` and ``test_faults`` have them in a whole worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from gpunode_node.errors import TrackerRefused, TrackerUnreachable
from gpunode_node.network_state import NetworkState
from gpunode_node.pull.worker_client import WorkerClient
from gpunode_node.pull.worker_file import WorkerFile
from gpunode_node.pull.worker_link import WorkerDescription, WorkerLink, WorkerVitals
from gpunode_node.registered_contact import RETRY_S
from gpunode_protocol.jobs_api import WorkerEvent
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.node.pull.fake_queue import WORKER_ID, FakeQueue, running_queue
from tests.node.virtual_time import virtual_time
from tests.node.world import EPOCH, NODE, job_id


@contextlib.asynccontextmanager
async def _linked(folder: Path) -> AsyncIterator[tuple[FakeQueue, WorkerLink]]:
    async with running_queue() as queue:
        client = WorkerClient(queue.url, attempts=1)
        state = NetworkState(folder / "network.json")
        link = WorkerLink(client, NODE, state, WorkerFile(folder / "pull.json"), lambda: EPOCH)
        link.describe(WorkerDescription(tasks=(Task.LLM,), models=("fake",)))
        await link.fetch_network()
        yield queue, link
        await client.close()


async def test_registration(tmp_path: Path) -> None:
    """The key is proved; the tracker's region counts where the owner names none, and the next process knows it all."""
    async with _linked(tmp_path) as (queue, link):
        assert (link.worker_id, link.region) == (None, None)
        given = await link.register()
        assert (given.worker_id, given.region, given.token) == (WORKER_ID, Region.EUROPE, "token-1")
        assert WorkerFile(tmp_path / "pull.json").load() == given
        assert queue.enlisted[0].models == ("fake",)


async def test_a_worker_that_never_registered(tmp_path: Path) -> None:
    """The first call that gets through registers it."""
    async with _linked(tmp_path) as (queue, link):
        assert await link.beat(WorkerVitals()) is True
        assert len(queue.enlisted) == 1


async def test_a_forgotten_token_is_renewed_once(tmp_path: Path) -> None:
    """However many calls are refused for it."""
    async with _linked(tmp_path) as (queue, link):
        await link.register()
        queue.tokens = []
        event = WorkerEvent(attempt=1, text="a")
        await asyncio.gather(link.beat(WorkerVitals()), *(link.tell(job_id(n), event) for n in range(3)))
        assert len(queue.enlisted) == 2


async def test_what_a_heartbeat_brings(tmp_path: Path) -> None:
    """Lost jobs, maintenance, and the tracker's time."""
    lost: list[str] = []
    async with _linked(tmp_path) as (queue, link):
        link.on_lost = lost.append
        queue.lost, queue.maintenance = {job_id(1)}, True
        assert await link.beat(WorkerVitals(tasks=(Task.LLM,), models=("fake",), holding={job_id(1): 1, job_id(2): 3}))
        assert (lost, link.maintenance, link.clock_problem) == ([job_id(1)], True, "")
        assert (queue.beats[0].holding[job_id(2)], queue.beats[0].models) == (3, ("fake",))
        queue.maintenance = False
        assert await link.beat(WorkerVitals())
        assert link.maintenance is False
        assert queue.beats[1].supported_types is None


async def test_a_refused_word_about_a_job_is_not_the_trackers_problem(tmp_path: Path) -> None:
    """Only silence is."""
    async with _linked(tmp_path) as (queue, link):
        await link.register()
        queue.lost = {job_id(1)}
        with pytest.raises(TrackerRefused) as refused:
            await link.tell(job_id(1), WorkerEvent(attempt=1, text="a"))
        assert (refused.value.status, link.problem) == (409, "")
        queue.down = True
        with pytest.raises(TrackerUnreachable):
            await link.next_job(0, lambda: None)
        assert "503" in link.problem


class _Client:
    """Answers heartbeats after so many failures."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.times: list[float] = []

    async def beat(self, _: WorkerVitals) -> bool:
        self.times.append(asyncio.get_running_loop().time())
        self.failures -= 1
        return self.failures < 0


async def _vitals() -> WorkerVitals:
    return WorkerVitals()


def _beating(folder: Path, client: _Client) -> WorkerLink:
    state = NetworkState(folder / "network.json")
    link = WorkerLink(cast("Any", None), NODE, state, WorkerFile(folder / "pull.json"), lambda: EPOCH)
    link.beat = client.beat  # type: ignore[method-assign]  # -- counts instead
    return link


@virtual_time
async def test_heartbeats_come_in_time(tmp_path: Path) -> None:
    """Every 60 s; sooner from the moment that a job is held; soon again after a failure, but ever more slowly."""
    client, interval = _Client(0), [60.0]
    link = _beating(tmp_path, client)
    began_at = asyncio.get_running_loop().time()
    running = asyncio.create_task(link.run(_vitals, lambda: interval[0]))
    await asyncio.sleep(130)
    assert [at - began_at for at in client.times] == [0, 60, 120]
    interval[0] = 20.0
    link.hurry()
    await asyncio.sleep(35)
    assert [at - began_at for at in client.times[3:]] == [140, 160]
    client.failures = 3
    client.times.clear()
    await asyncio.sleep(40)
    assert [round(at - began_at) for at in client.times][:4] == [180, 180 + 2, 180 + 2 + 4, 180 + 2 + 4 + 8]
    assert RETRY_S == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
