"""Workers' signs of life in Redis: what differs from the database. The contract is in ``workers/test_signs.py``."""

import asyncio
import json

import pytest
from gpunode_tracker.shared import redis_presence
from gpunode_tracker.shared.redis_link import RedisAway, RedisLink
from gpunode_tracker.shared.redis_presence import LIFETIME_MS, RedisPresence
from gpunode_tracker.workers.presence import (
    TELL_INTERVAL_S,
    TOLD_WRITE_INTERVAL_S,
    WRITE_INTERVAL_S,
    LiveWorker,
    Presence,
)
from gpunode_tracker.workers.worker import WorkerStatus
from redis.asyncio import Redis

from tests.tracker.parties import TestClock
from tests.tracker.workers.examples import stored_worker, worker_id


class Side:
    """One replica: its presence and its way to Redis."""

    def __init__(self, link: RedisLink, clock: TestClock) -> None:
        self.dropped: list[str] = []
        self.presence = Presence(clock, clock)
        self.store = RedisPresence(link, self.presence, on_dropped=self.dropped.append)

    def meet(self, number: int = 1) -> LiveWorker:
        """Read a worker from the database."""
        return self.presence.meet(stored_worker(number), {}, read_at=self.presence.monotonic())


@pytest.fixture
def here(link: RedisLink, clock: TestClock) -> Side:
    """A replica."""
    return Side(link, clock)


@pytest.fixture
def there(link: RedisLink, clock: TestClock) -> Side:
    """Another one."""
    return Side(link, clock)


async def test_many_workers_are_told_and_read_in_pages(
    here: Side, there: Side, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, the first time and later."""
    monkeypatch.setattr(redis_presence, "BATCH_SIGNS", 2)
    monkeypatch.setattr(redis_presence, "PAGE_SIGNS", 2)
    for _ in range(2):
        for number in range(5):
            there.meet(number)
            here.presence.hear(here.meet(number))
        clock.advance(TELL_INTERVAL_S)
        for worker in here.presence:
            here.presence.hear(worker)
        assert await here.store.flush() == 5
        await there.store.read()
        assert len(there.presence.live()) == 5


async def test_who_is_not_known_stays_unknown(here: Side, there: Side) -> None:
    """What a worker may do, and whether it still belongs here, the database says."""
    here.presence.hear(here.meet())
    await here.store.flush()
    await there.store.read()
    assert len(there.presence) == 0
    assert there.dropped == []


async def test_what_is_kept_ends_by_itself(here: Side, link: RedisLink, clock: TestClock) -> None:
    """All of it when nothing comes any more, and what is old when something does."""
    stream = f"{link.prefix}:workers"

    async def add_old(redis: Redis) -> None:
        for number in range(300):  # Redis drops them by the hundred
            await redis.xadd(stream, {"s": "old"}, id=f"1-{number}")

    await link.call(add_old)
    worker = here.meet()
    for _ in range(2):  # what time it is there, the first answer tells
        clock.advance(TELL_INTERVAL_S)
        here.presence.hear(worker)
        assert await here.store.flush() == 1
    assert await link.call(lambda redis: redis.xlen(stream)) <= 102
    assert 0 < await link.call(lambda redis: redis.pttl(stream)) <= LIFETIME_MS


async def test_a_redis_that_was_replaced(here: Side, there: Side, link: RedisLink) -> None:
    """By one whose clock is behind: it is read from its beginning."""
    there.meet()
    worker = here.meet()
    here.presence.hear(worker)
    await there.store.read()
    there.store._read_until = b"9999999999999-0"
    link.visits += 1
    await here.store.flush()
    await there.store.read()
    assert there.presence.status_of(worker.id) is WorkerStatus.ONLINE


async def test_the_database_hears_less_often_while_redis_is_used(here: Side, link: RedisLink, clock: TestClock) -> None:
    """As often as ever of who has a job, and of all when Redis is away, from their next sign of life on."""
    worker, busy = here.meet(1), here.meet(2)
    here.presence.hold(busy.id, "job", 1)

    def written_after(seconds: float) -> set[str]:
        clock.advance(seconds)
        for each in (worker, busy):
            here.presence.hear(each)
        return {each.id for each in here.presence.take_changes()}

    assert written_after(0) == {worker.id, busy.id}
    assert written_after(WRITE_INTERVAL_S) == {busy.id}
    assert written_after(TOLD_WRITE_INTERVAL_S - WRITE_INTERVAL_S) == {worker.id, busy.id}
    link.doubt()
    assert written_after(WRITE_INTERVAL_S) == {worker.id, busy.id}


async def test_redis_is_away(here: Side, there: Side, link: RedisLink) -> None:
    """Who was heard meanwhile is told when it is back, and who left is not."""
    there.meet()
    for number in (1, 2):
        here.presence.hear(here.meet(number))
    link._is_trusted = False
    with pytest.raises(RedisAway):
        await here.store.flush()
    here.presence.forget(worker_id(2))
    link._is_trusted = True
    assert await here.store.flush() == 1
    await there.store.read()
    assert there.presence.status_of(worker_id(1)) is WorkerStatus.ONLINE


async def test_nonsense_in_the_stream(here: Side, there: Side, link: RedisLink) -> None:
    """Is counted and left alone, and what comes after it is read."""
    half = json.dumps({"id": worker_id(1), "status": "busy", "last_heartbeat": 1})
    long = " " * (redis_presence.MAX_SIGN_BYTES + 1)
    worker = here.meet()
    whole = vars(here.presence.sign_of(worker))
    wrong = [
        json.dumps(whole | change)
        for change in (
            {"last_heartbeat": 10**400},
            {"gpu_memory_gb": float("nan")},
            {"supported_types": ["cooking"]},
            {"models": ["a"] * 100},
        )
    ]

    async def add_nonsense(redis: Redis) -> None:
        for field, value in (("x", "y"), *(("s", text) for text in ("{", half, long, *wrong))):
            await redis.xadd(f"{link.prefix}:workers", {field: value})

    await link.call(add_nonsense)
    there.meet()
    here.presence.hear(worker)
    await here.store.flush()
    await there.store.read()
    assert there.dropped == ["malformed"] * 8
    assert there.presence.status_of(worker_id(1)) is WorkerStatus.ONLINE


async def test_a_stream_that_was_emptied(here: Side, there: Side, link: RedisLink) -> None:
    """Places of before may be ahead of the clock; what comes then is read all the same."""
    there.meet()
    worker = here.meet()
    await link.call(lambda redis: redis.xadd(f"{link.prefix}:workers", {"s": "x"}, id="9999999999999-0"))
    await there.store.read()
    await link.call(lambda redis: redis.flushall())
    await there.store.read()
    here.presence.hear(worker)
    await here.store.flush()
    await there.store.read()
    assert there.presence.status_of(worker.id) is WorkerStatus.ONLINE


@pytest.mark.parametrize("place", ["18446744073709551615-18446744073709551615", "9999999999999-0"])
@pytest.mark.parametrize("is_left", [True, False])
async def test_a_place_ahead_of_the_clock(
    place: str, is_left: bool, here: Side, there: Side, link: RedisLink, caplog: pytest.LogCaptureFixture
) -> None:
    """After the highest place nothing could be written any more: the stream is begun anew, which the log says."""
    stream = f"{link.prefix}:workers"
    await link.call(lambda redis: redis.xadd(stream, {"s": "x"}, id=place))
    if not is_left:
        await link.call(lambda redis: redis.xdel(stream, place))
    there.meet()
    await there.store.read()
    worker = here.meet()
    here.presence.hear(worker)
    assert await here.store.flush() == 1
    assert [vars(record)["event"] for record in caplog.records] == ["presence_begun_anew"]
    for _ in range(2):  # the first look finds out that the stream is another
        await there.store.read()
    assert there.presence.status_of(worker.id) is WorkerStatus.ONLINE
    assert await link.call(lambda redis: redis.xlen(stream)) == 1


async def test_redis_refuses(
    here: Side, link: RedisLink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once why; what was to be told is told when Redis takes it."""
    turns = 0

    async def look_on(_seconds: float) -> None:
        nonlocal turns
        turns += 1
        await link.wait_until_up()
        if turns == 3:
            await link.call(lambda redis: redis.delete(f"{link.prefix}:workers"))
        if turns == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", look_on)
    await link.call(lambda redis: redis.set(f"{link.prefix}:workers", "x"))
    here.presence.hear(here.meet())
    with pytest.raises(asyncio.CancelledError):
        await here.store.run()
    assert [record.event for record in caplog.records] == ["presence_refused"]  # type: ignore[attr-defined]  # -- of `extra`
    assert "WRONGTYPE" in caplog.text
    assert await link.call(lambda redis: redis.xlen(f"{link.prefix}:workers")) == 1
