"""A tracker that is killed in the middle of its work, as a real process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from gpunode_protocol import tracker_api as api
from gpunode_tracker.administration import administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.run_file import RunInfo
from gpunode_tracker.storage.tables import transfers
from sqlalchemy import func, select

from tests.tracker.conftest import World
from tests.tracker.parties import Job, job_id
from tests.tracker.test_daemon import running

JOBS = 150


@asynccontextmanager
async def _world(data_dir: Path, info: RunInfo) -> AsyncIterator[World]:
    """Return the short ways of the other tests, to a tracker in another process."""
    network = SimpleNamespace(keys=SimpleNamespace(network=info.network))
    async with (
        aiohttp.ClientSession(info.url) as session,
        administration(TrackerSettings.load({"data_dir": data_dir})) as admin,
    ):
        yield World(cast(Any, network), cast(Any, session), admin)


async def _transfers(world: World) -> int:
    """Return how many transfers the ledger has."""
    async with world.admin.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(transfers))).scalar_one()


@pytest.mark.full
async def test_killed_while_settling(tmp_path: Path) -> None:
    """After kill -9 in the middle of a batch and a restart, sending it again pays each receipt exactly once."""
    async with running(tmp_path, "--no-mesh") as (process, info), _world(tmp_path, info) as world:
        deal = await world.job(open_microcredits=10_000_000)
        jobs = [Job(**(vars(deal.job) | {"job": job_id(number)})) for number in range(JOBS)]
        items = tuple(job.item(10) for job in jobs)
        await world.settle(*items[:1])
        before = await _transfers(world)
        batch = asyncio.create_task(world.post(api.SETTLEMENTS_PATH, api.SettlementBatch(items=items)))
        while await _transfers(world) == before:  # in the database: asking the tracker so often is limited
            assert not batch.done()
        process.kill()
        await process.wait()
        await asyncio.gather(batch, return_exceptions=True)
    async with running(tmp_path, "--no-mesh") as (_, info), _world(tmp_path, info) as world:
        statuses = [result.status for result in await world.settle(*items)]
        assert set(statuses) <= {"settled", "duplicate"}
        assert (await world.balance(token=deal.token)).spendable_microcredits == JOBS * 300
        async with world.admin.database.read() as connection:
            assert (await connection.execute(select(func.sum(transfers.c.microcredits)))).scalar_one() == 0
        head = api.HeadReply.model_validate_json(await (await world.get(api.HEAD_PATH)).text()).head
        assert head.body
