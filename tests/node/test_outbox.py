"""Vouchers and receipts on disk: superseded, released, killed, and with a full disk."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gpunode_node.admission import JobKey
from gpunode_node.errors import StateUnwritable
from gpunode_node.outbox import Outbox, Totals
from gpunode_protocol.tracker_api import SettlementResult

from tests.node.settlements import receipt, voucher
from tests.node.world import CLIENT, job_id


def _key(number: int) -> JobKey:
    return JobKey(CLIENT.peer_id, job_id(number), 0)


@contextlib.asynccontextmanager
async def _outbox(folder: Path) -> AsyncIterator[Outbox]:
    outbox = Outbox(folder / "outbox.db")
    await outbox.open()
    try:
        yield outbox
    finally:
        await outbox.close()


async def _counts(outbox: Outbox) -> tuple[int, int, int]:
    await outbox.write_pending()
    counts = await outbox.counts()
    return counts["held"], counts["ready"], counts["unwritten"]


async def test_the_newest_voucher_replaces_the_older_one(tmp_path: Path) -> None:
    """A segment has one row; it is held until its job is over."""
    async with _outbox(tmp_path) as outbox:
        for count in (64, 128):
            outbox.put(_key(1), voucher(1, count))
            assert await _counts(outbox) == (1, 0, 0)
        outbox.release(_key(1))
        assert await _counts(outbox) == (0, 1, 0)
        (entry,) = await outbox.ready(10)
        assert entry.item.voucher == voucher(1, 128).envelope
        assert entry.item.receipt is None


async def test_the_final_voucher_is_ready_with_its_receipt(tmp_path: Path) -> None:
    """Both go together, without a release."""
    signed = receipt(1)
    async with _outbox(tmp_path) as outbox:
        outbox.put(_key(1), voucher(1, 4))
        outbox.put(_key(1), voucher(1, 10, signed), signed)
        assert await _counts(outbox) == (0, 1, 0)
        (entry,) = await outbox.ready(10)
        assert entry.item.receipt == signed.envelope


async def test_a_later_grant_replaces_nothing(tmp_path: Path) -> None:
    """While the tracker is away a job may come again under another grant: both are owed."""
    first, second = voucher(1, 64), voucher(1, 10, jti="grant-2")
    async with _outbox(tmp_path) as outbox:
        for signed in (first, second):
            outbox.put(_key(1), signed)
            await outbox.write_pending()
            outbox.release(_key(1))
        assert await _counts(outbox) == (0, 2, 0)


async def test_a_release_while_an_older_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A voucher that comes and is released during a write is not left held."""
    async with _outbox(tmp_path) as outbox:
        run = outbox._thread.run

        async def slowly(work: object) -> object:
            monkeypatch.setattr(outbox._thread, "run", run)
            result = await run(work)  # type: ignore[arg-type]  # -- passed on
            outbox.put(_key(1), voucher(1, 128))
            outbox.release(_key(1))
            return result

        outbox.put(_key(1), voucher(1, 64))
        outbox.release(_key(1))
        monkeypatch.setattr(outbox._thread, "run", slowly)
        await outbox.write_pending()
        assert await _counts(outbox) == (0, 1, 0)


async def test_releasing_what_is_not_there(tmp_path: Path) -> None:
    """A job without vouchers has nothing to release."""
    async with _outbox(tmp_path) as outbox:
        outbox.release(_key(1))
        assert await _counts(outbox) == (0, 0, 0)


async def test_answers(tmp_path: Path) -> None:
    """Final answers remove items and are counted; what should come again stays."""
    answers = [
        SettlementResult(status="settled", paid_microcredits=300),
        SettlementResult(status="duplicate"),
        SettlementResult(status="rejected"),
        SettlementResult(status="equivocation"),
        SettlementResult(status="retry"),
    ]
    async with _outbox(tmp_path) as outbox:
        for number in range(5):
            outbox.put(_key(number), voucher(number))
            outbox.release(_key(number))
        await outbox.write_pending()
        entries = await outbox.ready(10)
        await outbox.settle([(entry.number, answer) for entry, answer in zip(entries, answers, strict=True)])
        assert await _counts(outbox) == (0, 1, 0)
        assert (await outbox.totals())["settled"] == Totals(items=1, paid_microcredits=300)
        assert set(await outbox.totals()) == {"settled", "duplicate", "rejected", "equivocation"}


async def test_an_answer_does_not_remove_a_newer_voucher(tmp_path: Path) -> None:
    """What came while the tracker was being asked is sent too."""
    signed = receipt(1)
    async with _outbox(tmp_path) as outbox:
        outbox.put(_key(1), voucher(1, 4))
        outbox.release(_key(1))
        await outbox.write_pending()
        (entry,) = await outbox.ready(10)
        outbox.put(_key(1), voucher(1, 10, signed), signed)
        await outbox.write_pending()
        await outbox.settle([(entry.number, SettlementResult(status="settled"))])
        (newer,) = await outbox.ready(10)
        assert newer.item.receipt == signed.envelope


async def test_what_a_process_held_is_ready_at_the_next_start(tmp_path: Path) -> None:
    """A job does not outlive its process, its vouchers do."""
    async with _outbox(tmp_path) as outbox:
        outbox.put(_key(1), voucher(1))
        assert await _counts(outbox) == (1, 0, 0)
    async with _outbox(tmp_path) as outbox:
        assert await _counts(outbox) == (0, 1, 0)


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """After kill -9 everything that was written is there."""
    program = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from gpunode_node.outbox import Outbox
        from tests.node.settlements import receipt, voucher
        from tests.node.test_outbox import _key

        async def main():
            outbox = Outbox(Path(sys.argv[1]))
            await outbox.open()
            outbox.put(_key(1), voucher(1))
            signed = receipt(2)
            outbox.put(_key(2), voucher(2, 10, signed), signed)
            assert await outbox.write_pending()
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    path = tmp_path / "outbox.db"
    root = Path(__file__).parent.parent.parent
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], cwd=root, check=False)
    assert result.returncode == -signal.SIGKILL

    async def count() -> int:
        async with _outbox(tmp_path) as outbox:
            return len(await outbox.ready(10))

    assert asyncio.run(count()) == 2


async def test_a_full_disk(tmp_path: Path) -> None:
    """New jobs are refused, nothing is lost, and all of it is written when there is room again."""
    async with _outbox(tmp_path) as outbox:
        outbox.put(_key(0), voucher(0))
        assert await _counts(outbox) == (1, 0, 0)
        pages = await outbox._thread.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await outbox._thread.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}"))
        for number in range(1, 40):
            outbox.put(_key(number), voucher(number))
        assert await outbox.write_pending() is False
        assert "full" in outbox.problem
        assert await _counts(outbox) == (1, 0, 39)
        outbox.release(_key(1))
        await outbox._thread.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000"))
        assert await outbox.write_pending() is True
        assert outbox.problem == ""
        assert await _counts(outbox) == (39, 1, 0)


async def test_the_writer_writes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to ask: a second connection sees the voucher."""
    async with _outbox(tmp_path) as outbox:
        written, write = asyncio.Event(), outbox.write_pending

        async def noted() -> bool:
            result = await write()
            written.set()
            return result

        monkeypatch.setattr(outbox, "write_pending", noted)
        outbox.put(_key(1), voucher(1))
        async with asyncio.timeout(10):
            await written.wait()
        with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
            assert other.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The reason is told in words."""
    (tmp_path / "outbox.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StateUnwritable, match=r"outbox\.db cannot be opened"):
        await Outbox(tmp_path / "outbox.db").open()


async def test_the_file_is_private(tmp_path: Path) -> None:
    """Vouchers are nobody else's business."""
    async with _outbox(tmp_path):
        assert (tmp_path / "outbox.db").stat().st_mode & 0o077 == 0
