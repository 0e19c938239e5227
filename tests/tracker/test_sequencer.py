"""Numbering of leaves, heads and proofs; one holder at a time."""

import asyncio

import pytest
from gpunode_protocol.merkle import consistency_is_valid, inclusion_is_valid, tree_hash
from gpunode_protocol.tree_head import TreeHead
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.entries import Bookkeeper
from gpunode_tracker.errors import InvalidRequest, StorageUnavailable
from gpunode_tracker.sequencer import TAKEOVER_S, NotTheSequencer, Sequencer
from gpunode_tracker.storage import ledger
from gpunode_tracker.tracker import Tracker
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, TestClock

pytestmark = ON_BOTH


async def _write(tracker: Tracker, count: int) -> None:
    async with tracker.database.write() as connection:
        for _ in range(count):
            await ledger.append(connection, Bookkeeper(tracker.keys.network, START_AT).issue("a", 1))


def _head(tracker: Tracker) -> TreeHead:
    assert tracker.sequencer.head is not None
    return tracker.keys.trust.open_tree_head(tracker.sequencer.head).body


async def _leaves(tracker: Tracker) -> list[bytes]:
    async with tracker.database.read() as connection:
        return await ledger.leaf_hashes(connection, 0)


async def test_heads_cover_all_leaves(tracker: Tracker) -> None:
    """Each run signs a head over everything written before; without new entries the head stays."""
    first = _head(tracker)
    await _write(tracker, 5)
    assert await tracker.sequencer.run_once(tracker.keys) == 5
    assert await tracker.sequencer.run_once(tracker.keys) == 0
    head = _head(tracker)
    assert (first.size, head.size, head.root) == (0, 5, tree_hash(await _leaves(tracker)))
    assert head.log == first.log


async def test_proofs_verify(tracker: Tracker) -> None:
    """Inclusion of every leaf, and consistency between all sizes."""
    heads = [_head(tracker)]
    for count in (1, 2, 4):
        await _write(tracker, count)
        await tracker.sequencer.run_once(tracker.keys)
        heads.append(_head(tracker))
    leaves, newest = await _leaves(tracker), heads[-1]
    for index, leaf in enumerate(leaves):
        path = tracker.sequencer.inclusion(index)
        assert inclusion_is_valid(index, newest.size, leaf, path, newest.root)
    for old in heads:
        path = tracker.sequencer.consistency(old.size, newest.size)
        assert consistency_is_valid(old.size, newest.size, old.root, newest.root, path)


async def test_no_proof_beyond_the_head(tracker: Tracker) -> None:
    """Sizes that do not exist are refused."""
    await _write(tracker, 2)
    await tracker.sequencer.run_once(tracker.keys)
    for sizes in ((0, 3), (2, 1), (-1, 2)):
        with pytest.raises(InvalidRequest):
            tracker.sequencer.consistency(*sizes)


async def test_the_log_goes_on_after_a_restart(settings: TrackerSettings, clock: TestClock) -> None:
    """The same log, the old leaves under the new heads, entries of the time between numbered at once."""
    tracker = await Tracker.open(settings, clock)
    await _write(tracker, 3)
    await tracker.sequencer.run_once(tracker.keys)
    before = _head(tracker)
    await _write(tracker, 2)
    await tracker.close()
    tracker = await Tracker.open(settings, clock)
    after = _head(tracker)
    path = tracker.sequencer.consistency(3, 5)
    await tracker.close()
    assert (after.log, after.size, after.epoch) == (before.log, 5, before.epoch + 1)
    assert consistency_is_valid(3, 5, before.root, after.root, path)


async def _rival(tracker: Tracker) -> Sequencer:
    """Return the sequencer of a second process, which takes over."""
    rival = Sequencer(tracker.database, _head(tracker).log, tracker.clock)
    await rival.start(tracker.keys)
    return rival


async def test_only_the_newest_epoch_numbers(tracker: Tracker) -> None:
    """A second process takes over. The first one forks no log, but reads the new one's and proves by that."""
    rival = await _rival(tracker)
    await _write(tracker, 1)
    assert await tracker.sequencer.run_once(tracker.keys) == 0
    assert await rival.run_once(tracker.keys) == 1
    assert await tracker.sequencer.run_once(tracker.keys) == 0
    assert (tracker.sequencer.head, tracker.sequencer.size) == (rival.head, 1)
    assert tracker.sequencer.inclusion(0) == rival.inclusion(0)


async def test_an_epoch_that_ends_meanwhile(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and numbering another process takes over: nothing is numbered twice."""
    await _write(tracker, 1)
    look = ledger.unsequenced_since

    async def look_and_lose(connection: AsyncConnection) -> int | None:
        found = await look(connection)
        monkeypatch.setattr(ledger, "unsequenced_since", look)
        await _rival(tracker)
        return found

    monkeypatch.setattr(ledger, "unsequenced_since", look_and_lose)
    with pytest.raises(NotTheSequencer):
        await tracker.sequencer.run_once(tracker.keys)
    assert await tracker.sequencer.run_once(tracker.keys) == 0
    assert _head(tracker).root == tree_hash(await _leaves(tracker))


async def test_somebody_takes_over_from_one_that_is_gone(tracker: Tracker, clock: TestClock) -> None:
    """When entries wait for too long, another process numbers them, under an epoch of its own."""
    rival = await _rival(tracker)
    await _write(tracker, 2)
    await rival.run_once(tracker.keys)
    assert rival.head is not None
    await _write(tracker, 1)  # and the rival is gone
    clock.advance(TAKEOVER_S - 1)
    assert await tracker.sequencer.run_once(tracker.keys) == 0
    clock.advance(1)
    assert await tracker.sequencer.run_once(tracker.keys) == 1
    head = _head(tracker)
    lost = tracker.keys.trust.open_tree_head(rival.head).body
    assert (head.size, head.epoch, head.root) == (3, lost.epoch + 1, tree_hash(await _leaves(tracker)))
    assert await rival.run_once(tracker.keys) == 0
    assert rival.head == tracker.sequencer.head


async def test_one_of_several_takes_over(tracker: Tracker, clock: TestClock) -> None:
    """All see at once that entries wait, and one numbers them."""
    rivals = [await _rival(tracker) for _ in range(4)]
    await _write(tracker, 5)
    clock.advance(TAKEOVER_S)
    numbered = await asyncio.gather(*(each.run_once(tracker.keys) for each in rivals[:-1]))
    assert sorted(numbered) == [0, 0, 5]


async def test_one_that_was_slow_and_not_gone(
    tracker: Tracker, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It numbers what waited just before another process takes over, which then signs no second head of that size."""
    rival = await _rival(tracker)
    await _write(tracker, 2)
    clock.advance(TAKEOVER_S)
    look = ledger.unsequenced_since

    async def look_and_be_late(connection: AsyncConnection) -> int | None:
        found = await look(connection)
        monkeypatch.setattr(ledger, "unsequenced_since", look)
        assert await rival.run_once(tracker.keys) == 2
        return found

    monkeypatch.setattr(ledger, "unsequenced_since", look_and_be_late)
    assert await tracker.sequencer.run_once(tracker.keys) == 0
    assert tracker.sequencer.head == rival.head
    await _write(tracker, 1)
    assert await tracker.sequencer.run_once(tracker.keys) == 1
    assert _head(tracker).root == tree_hash(await _leaves(tracker))


async def test_a_failed_write_leaves_no_trace(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the commit fails, the tree in memory goes back too."""
    await _write(tracker, 3)

    async def fail(*_args: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("gpunode_tracker.sequencer.add", fail)
        with pytest.raises(StorageUnavailable):
            await tracker.sequencer.run_once(tracker.keys)
    assert tracker.sequencer.size == 0
    assert await tracker.sequencer.run_once(tracker.keys) == 3
    assert _head(tracker).root == tree_hash(await _leaves(tracker))
