"""Two replicas' indices on one database."""

import asyncio
import random

import pytest
from gpunode_protocol.adverts import Advert
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import Signed, sign
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.region_index import MAX_SILENCE_S, RegionIndex
from gpunode_tracker.shared import advert_exchange
from gpunode_tracker.shared.advert_exchange import KEPT_S, AdvertExchange
from gpunode_tracker.storage.tables import live_adverts
from gpunode_tracker.tracker import Tracker
from sqlalchemy import func, select, update

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, TestClock, advert

pytestmark = ON_BOTH
NETWORK = "0" * 40
NODE = Identity.from_seed(b"n" * 32)
WAIT_S = 60


def _advert(sequence: int = 1, node: Identity = NODE, **changes: object) -> Signed[Advert]:
    certificate = sign(node, certificate_for(node.peer_id, network=NETWORK, kid="k", now=START_AT)).envelope
    return advert(node, certificate, NETWORK, sequence=sequence, **changes)  # type: ignore[arg-type]  # -- any field


class Replica:
    """One process's index."""

    def __init__(self, tracker: Tracker, clock: TestClock) -> None:
        self.index = RegionIndex(random.Random(1))
        self.exchange = AdvertExchange(tracker.database, self.index, clock)
        self._clock = clock

    def found(self) -> list[Signed[Advert]]:
        """Return what it knows to live."""
        return self.index.find(self._clock())


@pytest.fixture
def one(tracker: Tracker, clock: TestClock) -> Replica:
    """The replica that hears the node."""
    return Replica(tracker, clock)


@pytest.fixture
def two(tracker: Tracker, clock: TestClock) -> Replica:
    """The replica that does not."""
    return Replica(tracker, clock)


async def _exchange(*replicas: Replica) -> None:
    for replica in replicas:
        await replica.exchange.exchange()


async def test_a_replica_that_did_not_hear_the_heartbeat_knows_the_advert(one: Replica, two: Replica) -> None:
    """The same bytes, which verify."""
    told = _advert()
    one.index.update(told, START_AT)
    await _exchange(one, two)
    assert two.found() == one.found() == [told]


async def test_newer_adverts_replace_older_ones(one: Replica, two: Replica) -> None:
    """Wherever the node was heard last."""
    one.index.update(_advert(1), START_AT)
    await _exchange(one, two)
    newer = _advert(2)
    two.index.update(newer, START_AT)
    await _exchange(two, one)
    assert one.found() == [newer]
    one.index.update(_advert(3, tombstone=True), START_AT)
    await _exchange(one, two)
    assert two.found() == []


async def test_signs_of_life(one: Replica, two: Replica, clock: TestClock) -> None:
    """A node whose heartbeats reach one replica lives at the other too, and is silent at both at once."""
    one.index.update(_advert(expires_at=START_AT + 10_000), START_AT)
    await _exchange(one, two)
    clock.advance(MAX_SILENCE_S)
    one.index.hear(NODE.peer_id, clock())
    await _exchange(one, two)
    clock.advance(MAX_SILENCE_S)
    assert len(two.found()) == 1
    clock.advance(1)
    assert one.found() == two.found() == []


async def test_a_node_that_leaves(one: Replica, two: Replica) -> None:
    """It is off at both, and what the other one repeats does not bring it back."""
    one.index.update(_advert(), START_AT)
    await _exchange(one, two)
    two.index.remove(NODE.peer_id)
    await _exchange(two, one)
    assert one.found() == []
    one.index.hear(NODE.peer_id, START_AT)
    await _exchange(one, two)
    assert one.found() == two.found() == []


async def test_a_replica_that_starts_later_reads_all(one: Replica, two: Replica, clock: TestClock) -> None:
    """Every node that can live was written within the time that is read first."""
    one.index.update(_advert(expires_at=START_AT + 10_000), START_AT)
    await _exchange(one)
    clock.advance(MAX_SILENCE_S)
    await _exchange(two)
    assert len(two.found()) == 1


async def test_nothing_goes_round_in_circles(tracker: Tracker, one: Replica, two: Replica, clock: TestClock) -> None:
    """What was read is not written again."""
    one.index.update(_advert(), START_AT)
    await _exchange(one)
    clock.advance(5)
    await _exchange(two, one, two)
    async with tracker.database.read() as connection:
        assert list((await connection.execute(select(live_adverts.c.changed_at))).scalars()) == [START_AT]


async def test_a_damaged_row_is_left_out(
    tracker: Tracker, one: Replica, two: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and the others are read."""
    other = Identity.from_seed(b"o" * 32)
    one.index.update(_advert(), START_AT)
    one.index.update(_advert(node=other), START_AT)
    await _exchange(one)
    async with tracker.database.write() as connection:
        damaged = update(live_adverts).where(live_adverts.c.peer == NODE.peer_id)
        await connection.execute(damaged.values(signature=bytes(64)))
    await _exchange(two)
    assert [item.body.peer for item in two.found()] == [other.peer_id]
    assert f"An advert of {NODE.peer_id} in the database is not valid" in caplog.text


async def test_what_could_not_be_written_is_written_later(
    one: Replica, two: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away."""
    one.index.update(_advert(), START_AT)

    async def fail(*_args: object, **_more: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("gpunode_tracker.storage.live_adverts.write_adverts", fail)
        with pytest.raises(StorageUnavailable):
            await one.exchange.exchange()
    await _exchange(one, two)
    assert len(two.found()) == 1


async def test_expired_adverts_are_dropped(tracker: Tracker, one: Replica, clock: TestClock) -> None:
    """From time to time."""
    one.index.update(_advert(), START_AT)
    await _exchange(one)
    clock.advance(150 + KEPT_S + 1)
    for _ in range(60):
        await _exchange(one)
    async with tracker.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(live_adverts))).scalar_one() == 0


async def test_it_exchanges_by_itself(one: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a turn that failed."""
    monkeypatch.setattr(advert_exchange, "INTERVAL_S", 0)
    turns: asyncio.Queue[None] = asyncio.Queue()
    failures = iter([StorageUnavailable(), ValueError()])

    async def exchange() -> None:
        turns.put_nowait(None)
        failure = next(failures, None)
        if failure is not None:
            raise failure

    monkeypatch.setattr(one.exchange, "exchange", exchange)
    running = asyncio.create_task(one.exchange.run())
    async with asyncio.timeout(WAIT_S):
        for _ in range(4):
            await turns.get()
    running.cancel()
