"""Complaints of clients about nodes are counted, and forgotten when they are old."""

from gpunode_protocol.identity import Identity
from gpunode_protocol.tracker_api import ReportRequest
from gpunode_tracker.storage.reports import ReportCount, add_report, count_reports, forget_reports

from tests.tracker.conftest import World
from tests.tracker.parties import job_id

ONE, TWO = (Identity.from_seed(bytes([number]) * 32).peer_id for number in (1, 2))


async def _add(world: World, account: str, node: str, kind: str, *, at: int) -> None:
    report = ReportRequest.model_validate({"node": node, "job": job_id(1), "segment": 0, "kind": kind})
    async with world.tracker.database.write() as connection:
        await add_report(connection, account, report, received_at=at)


async def _counts(
    world: World, *, node: str | None = None, since: int | None = None, limit: int = 9
) -> list[tuple[str, str, int, int]]:
    async with world.tracker.database.read() as connection:
        found = await count_reports(connection, node=node, since=since, limit=limit)
    return [(each.node, each.kind, each.reports, each.accounts) for each in found]


async def _two_accounts(world: World) -> tuple[str, str]:
    (alice, _), (bob, _) = await world.account(), await world.account()
    await _add(world, alice, ONE, "bad_digest", at=10)
    await _add(world, alice, TWO, "bad_usage", at=20)
    await _add(world, bob, ONE, "bad_digest", at=30)
    await _add(world, bob, ONE, "bad_digest", at=40)
    await _add(world, bob, ONE, "bad_receipt", at=50)
    return alice, bob


async def test_reports_are_counted_by_node_and_reason(world: World) -> None:
    """The newest first, with the accounts that made them."""
    await _two_accounts(world)
    newest = (ONE, "bad_receipt", 1, 1)
    assert await _counts(world) == [newest, (ONE, "bad_digest", 3, 2), (TWO, "bad_usage", 1, 1)]
    assert await _counts(world, limit=1) == [newest]
    assert await _counts(world, node=TWO) == [(TWO, "bad_usage", 1, 1)]
    assert await _counts(world, since=40) == [newest, (ONE, "bad_digest", 1, 1)]
    async with world.tracker.database.read() as connection:
        (_, digests) = await count_reports(connection, node=ONE, limit=9)
    assert digests == ReportCount(ONE, "bad_digest", 3, 2, 10, 40)


async def test_old_reports_are_forgotten(world: World) -> None:
    """The oldest first, so many at once; younger ones stay."""
    await _two_accounts(world)
    forgotten = []
    for _ in range(3):
        async with world.tracker.database.write() as connection:
            forgotten.append(await forget_reports(connection, before=40, limit=2))
    assert forgotten == [2, 1, 0]
    assert await _counts(world) == [(ONE, "bad_receipt", 1, 1), (ONE, "bad_digest", 1, 1)]
