"""From the outbox to the tracker."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from gpunode_node.admission import JobKey
from gpunode_node.errors import TrackerRefused, TrackerUnreachable
from gpunode_node.outbox import Outbox, OutboxItem
from gpunode_node.settler import GATHER_S, Settler
from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply, SettlementResult

from tests.node.settlements import receipt, voucher
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, job_id

Status = Literal["settled", "duplicate", "equivocation", "rejected", "retry"]


class _Tracker:
    """Answers batches; ``failures`` are raised first."""

    def __init__(self, *failures: Exception, answer: Callable[[int], Status] = lambda _: "settled") -> None:
        self.failures = list(failures)
        self.answer = answer
        self.batches: list[int] = []
        self.times: list[float] = []

    async def submit(self, batch: SettlementBatch) -> SettlementReply:
        self.times.append(asyncio.get_running_loop().time() - 1_000)
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(len(batch.items))
        results = tuple(SettlementResult(status=self.answer(index)) for index in range(len(batch.items)))
        return SettlementReply(results=results)


async def _filled(folder: Path, items: int) -> Outbox:
    outbox = Outbox(folder / "outbox.db")
    await outbox.open()
    for number in range(items):
        signed = receipt(number)
        outbox.put(JobKey(CLIENT.peer_id, job_id(number), 0), voucher(number, 10, signed), signed)
    return outbox


@virtual_time
async def test_batches(tmp_path: Path) -> None:
    """All that is ready goes out, in batches, once."""
    outbox, tracker = await _filled(tmp_path, 3), _Tracker()
    settler = Settler(outbox, tracker.submit)
    assert await settler.flush() is True
    assert await settler.flush() is True
    assert tracker.batches == [3]
    assert (await outbox.totals())["settled"].items == 3
    await outbox.close()


@virtual_time
async def test_a_tracker_that_is_down(tmp_path: Path) -> None:
    """It is asked again, ever more slowly, and everything arrives once it is back."""
    outbox = await _filled(tmp_path, 1)
    tracker = _Tracker(TrackerUnreachable("down"), TrackerUnreachable("down"), TrackerRefused(401, "who?"))
    settler = Settler(outbox, tracker.submit)
    running = asyncio.create_task(settler.run())
    await asyncio.sleep(4)
    assert settler.problem
    await asyncio.sleep(60)
    running.cancel()
    assert tracker.times == pytest.approx([0, 1, 3, 7])
    assert tracker.batches == [1]
    assert settler.problem == ""
    await outbox.close()


@virtual_time
async def test_a_tracker_that_returns(tmp_path: Path) -> None:
    """Its return ends the pause after a failure; a mere nudge does not."""
    outbox = await _filled(tmp_path, 1)
    tracker = _Tracker(*[TrackerUnreachable("down")] * 4)
    settler = Settler(outbox, tracker.submit)
    running = asyncio.create_task(settler.run())
    asyncio.get_running_loop().call_later(8, settler.nudge)
    asyncio.get_running_loop().call_later(9, settler.retry_now)
    await asyncio.sleep(10)
    running.cancel()
    assert tracker.times == pytest.approx([0, 1, 3, 7, 9])
    await outbox.close()


@virtual_time
async def test_a_nudge_is_heard_before_the_interval_ends(tmp_path: Path) -> None:
    """What becomes ready is sent soon, together with what becomes ready right after it."""
    outbox, tracker = await _filled(tmp_path, 0), _Tracker()
    settler = Settler(outbox, tracker.submit)
    running = asyncio.create_task(settler.run())
    for number, pause_s in ((8, 0.5), (9, GATHER_S / 2)):
        await asyncio.sleep(pause_s)
        signed = receipt(number)
        outbox.put(JobKey(CLIENT.peer_id, job_id(number), 0), voucher(number, 10, signed), signed)
        settler.nudge()
    await asyncio.sleep(GATHER_S)
    assert tracker.times == pytest.approx([0.5 + GATHER_S])
    assert tracker.batches == [2]
    running.cancel()
    await outbox.close()


@virtual_time
async def test_refused_items_do_not_hold_up_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rejections are final and logged; retry stays."""
    outbox = await _filled(tmp_path, 3)
    answers: list[Status] = ["rejected", "settled", "retry"]
    settler = Settler(outbox, _Tracker(answer=lambda index: answers[index]).submit)
    assert await settler.flush() is False
    assert (await outbox.counts())["ready"] == 1
    assert "objects to an item" in caplog.text
    await outbox.close()


@virtual_time
async def test_an_answer_of_another_length(tmp_path: Path) -> None:
    """Nothing is dropped when it is not clear what was answered."""
    outbox = await _filled(tmp_path, 2)

    async def submit(_: SettlementBatch) -> SettlementReply:
        return SettlementReply(results=(SettlementResult(status="settled"),))

    assert await Settler(outbox, submit).flush() is False
    assert (await outbox.counts())["ready"] == 2
    await outbox.close()


@virtual_time
async def test_an_answer_that_cannot_be_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk the items are sent again later, which does no harm."""
    outbox, tracker = await _filled(tmp_path, 1), _Tracker()

    async def full(_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "settle", full)
        assert await Settler(outbox, tracker.submit).flush() is False
    assert await Settler(outbox, tracker.submit).flush() is True
    assert tracker.batches == [1, 1]
    await outbox.close()


@virtual_time
async def test_an_outbox_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails to read is a problem of settlement, told to the owner; the node goes on, and tries again."""
    outbox, tracker = await _filled(tmp_path, 1), _Tracker()

    async def fail(_: int) -> list[OutboxItem]:
        raise sqlite3.OperationalError("disk I/O error")

    settler = Settler(outbox, tracker.submit)
    with monkeypatch.context() as failing:
        failing.setattr(outbox, "ready", fail)
        assert await settler.flush() is False
        assert "disk I/O error" in settler.problem
    assert await settler.flush() is True
    assert tracker.batches == [1]
    await outbox.close()
