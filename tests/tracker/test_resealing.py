"""Sealing old values anew, with real rows on both databases."""

from dataclasses import dataclass

import pytest
from gpunode_tracker import resealing
from gpunode_tracker.administration import Administration
from gpunode_tracker.errors import InvalidRequest, StorageUnavailable
from gpunode_tracker.resealing import AGAIN_S, Resealing
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.sealing_key_file import NOTICED_S, SEALING_KEYS_FILE
from gpunode_tracker.storage.sealed_values import count_sealed_with
from gpunode_tracker.storage.tables import jobs
from gpunode_tracker.tracker import Tracker
from sqlalchemy import update

from tests.tracker.databases import ON_BOTH
from tests.tracker.jobs.queue_parties import ANSWER, HELLO, Queue
from tests.tracker.parties import TestClock

pytestmark = ON_BOTH


@dataclass
class Office:
    """A tracker whose upkeep does not run, so that nothing is sealed anew behind the test's back."""

    tracker: Tracker
    admin: Administration

    async def account(self) -> str:
        """Return a new account's id."""
        return (await self.admin.create_account("test", credits_given=100)).id


@pytest.fixture
def office(tracker: Tracker) -> Office:
    """The tracker and its operator."""
    return Office(tracker, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))


@pytest.fixture
def work(tracker: Tracker, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> Resealing:
    """Small batches."""
    monkeypatch.setattr(resealing, "BATCH_VALUES", 2)
    return Resealing(tracker.database, tracker.sealer, clock)


async def _count(office: Office, sealer: Sealer) -> int:
    async with office.tracker.database.read() as connection:
        return await count_sealed_with(connection, [key.id for key in sealer.keys])


async def test_a_whole_rotation(office: Office, work: Resealing, clock: TestClock) -> None:
    """A new key, everything sealed anew, the old key dropped: and every value still opens."""
    tracker, admin = office.tracker, office.admin
    account = await office.account()
    queue = Queue(tracker)
    filed = [await queue.submit(account, webhook="https://example.com/hook") for _ in range(5)]
    _, lease = await queue.claim()
    assert await tracker.desk.complete(lease, ANSWER, processing_ms=1) is not None
    old = Sealer(tracker.sealer.keys)
    content = await admin.sealing.rotate()
    assert [key.id for key in content.old_keys] == [key.id for key in old.keys]
    await tracker.refresh()
    assert tracker.sealer.keys[0] == content.keys[0]
    clock.advance(NOTICED_S)
    with pytest.raises(InvalidRequest, match="16 values"):
        await admin.sealing.drop_old()
    assert await work.look() == 16
    assert await _count(office, old) == 0
    assert (await admin.sealing.drop_old()).old_keys == ()
    await tracker.refresh()
    assert tracker.sealer.keys == content.keys[:1]
    for job in [await queue.job(each.id) for each in filed]:
        assert tracker.desk.params_of(job) == HELLO
    assert tracker.desk.result_of(await queue.job(lease.job_id)) == ANSWER
    assert Sealer.from_file(tracker.settings.data_dir / SEALING_KEYS_FILE).keys == content.keys[:1]


async def test_old_keys_are_not_dropped_before_all_noticed(office: Office, clock: TestClock) -> None:
    """A running tracker may seal with one for some seconds more."""
    await office.admin.sealing.rotate()
    with pytest.raises(InvalidRequest, match="may not have noticed"):
        await office.admin.sealing.drop_old()
    clock.advance(NOTICED_S)
    assert (await office.admin.sealing.drop_old()).old_keys == ()


async def test_a_prepared_key_changes_nothing_yet(office: Office, work: Resealing) -> None:
    """It opens, so that the file can be copied to other trackers; then it seals."""
    account = await office.account()
    await Queue(office.tracker).submit(account)
    before = office.tracker.sealer.keys
    prepared = await office.admin.sealing.prepare()
    await office.tracker.refresh()
    assert office.tracker.sealer.keys == (*before, prepared.keys[-1])
    assert await work.look() == 0
    assert (await office.admin.sealing.rotate()).keys[0].id == prepared.prepared
    await office.tracker.refresh()
    assert await work.look() == 1


async def test_it_looks_once_and_then_seldom(office: Office, work: Resealing, clock: TestClock) -> None:
    """What another tracker sealed late with an old key is found at the next look."""
    account = await office.account()
    queue = Queue(office.tracker)
    old = office.tracker.sealer.keys
    await office.admin.sealing.rotate()
    await office.tracker.refresh()
    assert await work.look() == 0
    fresh = office.tracker.sealer.keys
    office.tracker.sealer.take_keys(old)
    await queue.submit(account)
    office.tracker.sealer.take_keys(fresh)
    assert await work.look() == 0
    clock.advance(AGAIN_S)
    assert await work.look() == 1


async def test_nothing_to_do_without_old_keys(office: Office, work: Resealing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is not even asked."""

    def fail() -> None:
        raise AssertionError

    monkeypatch.setattr(office.tracker.database, "read", fail)
    assert await work.look() == 0


async def test_a_lost_value_does_not_stop_the_others(
    office: Office, work: Resealing, caplog: pytest.LogCaptureFixture
) -> None:
    """It is as lost as before; the log names its place, and its key stays."""
    account = await office.account()
    queue = Queue(office.tracker)
    filed = [await queue.submit(account) for _ in range(5)]
    damaged = filed[1].params[:-1] + bytes([filed[1].params[-1] ^ 1])
    async with office.tracker.database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == filed[1].id).values(params=damaged))
    await office.admin.sealing.rotate()
    await office.tracker.refresh()
    assert await work.look() == 4
    assert f"jobs.params/{filed[1].id}" in caplog.text


async def test_an_interrupted_pass_goes_on(office: Office, work: Resealing, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sealed anew stays so, and the rest follows when the database works again."""
    account = await office.account()
    for _ in range(5):
        await Queue(office.tracker).submit(account)
    await office.admin.sealing.rotate()
    await office.tracker.refresh()
    write, writes = office.tracker.database.write, iter(range(9))

    def fail_once() -> object:
        if next(writes) == 1:
            raise StorageUnavailable
        return write()

    monkeypatch.setattr(office.tracker.database, "write", fail_once)
    with pytest.raises(StorageUnavailable):
        await work.look()
    assert await work.look() == 3
