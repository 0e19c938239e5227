"""What the tracker does by itself."""

import asyncio

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker import upkeep
from gpunode_tracker.bans import BanKind
from gpunode_tracker.entries import account_name, reserved_name
from gpunode_tracker.sharding import OVERLAP_S, Sharding
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.documents import DocumentKind, newest
from gpunode_tracker.storage.reports import add_report, count_reports
from gpunode_tracker.storage.tables import balance_checkpoints, bans, signed_documents, used_challenges
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import Upkeep
from sqlalchemy import select

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock, job_id
from tests.tracker.workers.examples import stored_worker, worker_id


async def test_a_head_follows_every_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody asking, new entries come under a signed head."""
    numbered = asyncio.Event()
    sequence = world.tracker.sequence

    async def watched() -> None:
        await sequence()
        if world.tracker.sequencer.size == 2:
            numbered.set()

    monkeypatch.setattr(world.tracker, "sequence", watched)
    await world.job()
    async with asyncio.timeout(10):
        await numbered.wait()
    envelope = api.HeadReply.model_validate_json(await (await world.get(api.HEAD_PATH)).text()).head
    assert world.tracker.keys.trust.open_tree_head(envelope).body.size == 2


async def test_a_stop_numbers_the_last_entries(tracker: Tracker) -> None:
    """A clean exit leaves nothing unsequenced."""
    from gpunode_tracker.administration import Administration

    keeper = Upkeep(tracker)
    keeper.start()
    admin = Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock)
    await admin.create_account("late", credits_given=1)
    await keeper.stop()
    async with tracker.database.read() as connection:
        assert await ledger.unsequenced(connection, 9) == []


async def test_tidying(world: World, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used challenges go when they have expired, reservations return, long sums get checkpoints."""
    monkeypatch.setattr(upkeep, "CHECKPOINT_TRANSFERS", 1)
    keeper = Upkeep(world.tracker)
    await keeper._tidy()
    deal = await world.job()
    clock.advance(3 * 3600 + 1)
    await keeper._tidy()
    async with world.tracker.database.read() as connection:
        assert (await connection.execute(select(used_challenges))).all() == []
        shortened = (await connection.execute(select(balance_checkpoints.c.account))).scalars().all()
        assert set(shortened) == {account_name(deal.account), reserved_name(deal.grant.jti)}
    assert (await world.balance(key=deal.key)).spendable_microcredits == 100_000_000


async def test_shards_follow_the_index(tracker: Tracker) -> None:
    """At every turn: nobody is left here, so the topics are whole again."""
    tracker.sharding = Sharding(bits=3, changed_at=tracker.now - OVERLAP_S)
    await Upkeep(tracker)._tidy()
    assert (tracker.sharding.bits, tracker.sharding.previous_at(tracker.now)) == (0, 3)


async def test_old_heads_are_dropped(world: World, clock: TestClock) -> None:
    """After a day, except the newest, however old it is."""
    await world.account()
    await world.tracker.sequence()
    clock.advance(10 * 24 * 3600)
    await upkeep.drop_expired(world.tracker)
    async with world.tracker.database.read() as connection:
        heads = select(signed_documents.c.sequence).where(signed_documents.c.kind == DocumentKind.TREE_HEAD)
        assert (await connection.execute(heads)).scalars().all() == [1]
        assert await newest(connection, DocumentKind.TREE_HEAD) == world.tracker.sequencer.head


async def test_bans_whose_time_is_over_are_dropped(world: World, clock: TestClock) -> None:
    """The others stay."""
    await world.admin.bans.place(BanKind.ADDRESS, "192.0.2.1", "floods", until=START_AT + 10)
    await world.admin.bans.place(BanKind.ADDRESS, "192.0.2.2", "floods")
    clock.advance(10)
    await upkeep.drop_expired(world.tracker)
    async with world.tracker.database.read() as connection:
        assert (await connection.execute(select(bans.c.subject))).scalars().all() == ["192.0.2.2"]


async def test_who_lived_before_a_restart_lives_after_it(tracker: Tracker) -> None:
    """At once, so that nobody is shown as off who is there, and no heartbeat needs a look-up of its token."""
    async with tracker.database.write() as connection:
        await add_worker(connection, stored_worker(last_heartbeat=START_AT), b"hash")
    running = Upkeep(tracker)
    running.start()
    async with asyncio.timeout(10):
        while tracker.workers.presence.find(worker_id(1)) is None:  # noqa: ASYNC110 -- it rings no bell
            await asyncio.sleep(0)
    await running.stop()
    assert tracker.workers.tokens.find(b"hash", START_AT) == worker_id(1)


async def test_reports_end_after_ninety_days(world: World, clock: TestClock) -> None:
    """Not before."""
    account, _ = await world.account()
    report = api.ReportRequest(node=Identity.generate().peer_id, job=job_id(1), segment=0, kind="bad_digest")
    async with world.tracker.database.write() as connection:
        await add_report(connection, account, report, received_at=world.tracker.now)
    left = []
    for seconds in (upkeep.REPORTS_KEPT_S, 1):
        clock.advance(seconds)
        await upkeep.drop_expired(world.tracker)
        async with world.tracker.database.read() as connection:
            left.append(len(await count_reports(connection, limit=9)))
    assert left == [1, 0]
