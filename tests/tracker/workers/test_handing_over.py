"""Large jobs on their way; what the whole call makes of it: handlers/test_large_reply."""

import pytest
from gpunode_protocol.jobs_api import LEASE_S
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.workers.handing_over import RENEWALS_A_LEASE, HandingOver
from gpunode_tracker.workers.presence import LiveWorker

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import CHAT, client_of
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import pull_worker


async def _handing_over(world: World) -> tuple[HandingOver, LiveWorker]:
    """Return a job that was given to a worker."""
    client, worker = await client_of(world), await pull_worker(world)
    await client.submit(**CHAT)
    given = await worker.next_job()
    live = world.tracker.workers.presence.find(worker.id)
    assert live is not None
    return HandingOver(world.tracker, live, given), live


async def test_a_job_stays_its_workers_while_pieces_are_taken(world: World, clock: TestClock) -> None:
    """However long that takes; without them it is lost like every other."""
    handing, _ = await _handing_over(world)
    expire_leases = world.tracker.workers.outcomes.expire_leases
    for _ in range(10):
        clock.advance(LEASE_S / 2)
        await handing.piece_taken()
        assert await expire_leases() == 0
    clock.advance(LEASE_S + 1)
    assert await expire_leases() == 1


async def test_not_every_piece_is_written_down(world: World, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few renewals a lease are enough."""
    handing, worker = await _handing_over(world)
    renewed: list[object] = []

    async def renew(leases: object) -> None:
        renewed.append(leases)

    monkeypatch.setattr(world.tracker.workers.renewals, "renew", renew)
    for _ in range(LEASE_S):
        clock.advance(1)
        await handing.piece_taken()
    assert len(renewed) == RENEWALS_A_LEASE
    assert worker.heard_at == clock()


async def test_a_database_that_is_away_does_not_break_the_transfer(
    world: World, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease lasts a while, and is renewed with a later piece."""
    handing, _ = await _handing_over(world)

    async def fail(_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as away:
        away.setattr(world.tracker.workers.renewals, "renew", fail)
        clock.advance(LEASE_S / 2)
        await handing.piece_taken()
    clock.advance(LEASE_S / 2 - 1)
    await handing.piece_taken()
    clock.advance(LEASE_S / 2)
    assert await world.tracker.workers.outcomes.expire_leases() == 0
