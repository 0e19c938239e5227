"""Ends of jobs on disk."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gpunode_node.admission import key_of
from gpunode_node.pull import completions
from gpunode_node.pull.completions import Completion, CompletionOutbox, Totals, VoucherlessOutbox
from gpunode_protocol.errors import UnexpectedMessage
from gpunode_protocol.jobs_api import JobCompletion

from tests.node.settlements import voucher
from tests.node.world import job_id, request


def _end(number: int, *, success: bool = True, size: int = 10) -> Completion:
    body = JobCompletion(success=success, attempt=1, transcript=b"x" * size if success else None)
    return Completion.of(job_id(number), body)


@contextlib.asynccontextmanager
async def _outbox(folder: Path) -> AsyncIterator[tuple[CompletionOutbox, tuple[Completion, ...]]]:
    outbox = CompletionOutbox(folder / "completions.db")
    found = await outbox.open()
    try:
        yield outbox, found
    finally:
        await outbox.close()


async def test_a_restart_finds_what_was_not_answered_for(tmp_path: Path) -> None:
    """Byte for byte; what was answered for is counted and gone."""
    first, second, third = _end(1), _end(2, success=False), _end(3)
    async with _outbox(tmp_path) as (outbox, found):
        assert found == ()
        for each in (first, second, third):
            await outbox.put(each)
        await outbox.remove(third, "completed", 7)
        assert outbox.counts() == {"ready": 2, "unwritten": 0}
    async with _outbox(tmp_path) as (outbox, found):
        assert set(found) == {first, second} == set(outbox.waiting)
        assert [each.success for each in sorted(found, key=lambda each: each.job_id)] == [True, False]
        assert await outbox.totals() == {"completed": Totals(1, 7)}


async def test_the_file_is_private(tmp_path: Path) -> None:
    """Answers of jobs are in it."""
    async with _outbox(tmp_path):
        assert (tmp_path / "completions.db").stat().st_mode & 0o777 == 0o600
    assert "xxxxx" not in repr(_end(1))


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: it waits in memory and is written when there is room again; who watches is told of both."""
    monkeypatch.setattr(completions, "RETRY_S", 0.01)
    told: list[str] = []
    async with _outbox(tmp_path) as (outbox, _):
        outbox.on_problem = lambda: told.append(outbox.problem)
        pages = await outbox._thread.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await outbox._thread.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}"))
        await outbox.put(_end(1, size=100_000))
        assert "full" in outbox.problem
        assert outbox.counts() == {"ready": 1, "unwritten": 1}
        writer = outbox._writer
        assert writer is not None
        await outbox._thread.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000"))
        await writer
        assert (outbox.problem, outbox.counts()) == ("", {"ready": 1, "unwritten": 0})
        assert len(told) == 2
    async with _outbox(tmp_path) as (_, found):
        assert found == (_end(1, size=100_000),)


async def test_what_was_delivered_from_memory_is_not_written_later(tmp_path: Path) -> None:
    """A disk that was full in between keeps nothing of it."""
    async with _outbox(tmp_path) as (outbox, _):
        await outbox._thread.run(lambda connection: connection.execute("PRAGMA query_only = 1"))
        await outbox.put(_end(1))
        assert outbox.counts() == {"ready": 1, "unwritten": 1}
        await outbox._thread.run(lambda connection: connection.execute("PRAGMA query_only = 0"))
        await outbox.remove(_end(1), "completed")
        assert outbox.counts() == {"ready": 0, "unwritten": 0}
    async with _outbox(tmp_path) as (_, found):
        assert found == ()


async def test_nobody_vouches_for_pulled_jobs(tmp_path: Path) -> None:
    """A voucher is a mistake, and there is nothing to release; the disk's problem keeps jobs away."""
    async with _outbox(tmp_path) as (outbox, _):
        none = VoucherlessOutbox(outbox)
        outbox._problem = "full"
        assert none.problem == "full"
        key = key_of(request().body)
        none.release(key)
        with pytest.raises(UnexpectedMessage):
            none.put(key, voucher(1))
