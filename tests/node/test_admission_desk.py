"""Admission written through to disk."""

import sqlite3
from pathlib import Path

import pytest
from gpunode_node.admission import key_of
from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.delivery import Delivery
from gpunode_protocol.errors import ErrorCode, JobError

from tests.node.world import EPOCH, NODE, grant, request


async def _desk(folder: Path, delivery: Delivery = Delivery.STREAM) -> AdmissionDesk:
    desk = AdmissionDesk(folder / "admission.db", NODE.peer_id, 1_000, delivery)
    await desk.open(EPOCH)
    return desk


async def test_a_killed_process_leaves_the_worst_case(tmp_path: Path) -> None:
    """A job that never ended counts with all that it could have cost."""
    asked = request()
    desk = await _desk(tmp_path)
    desk.begin(asked, grant())
    await desk.reserve(key_of(asked.body), grant(), 900)
    await desk.close()
    again = await _desk(tmp_path)
    with pytest.raises(JobError):
        again.begin(asked, grant())
    other = request()
    again.begin(other, grant())
    with pytest.raises(JobError) as caught:
        await again.reserve(key_of(other.body), grant(), 200)
    assert caught.value.code is ErrorCode.GRANT_EXHAUSTED
    await again.close()


@pytest.mark.parametrize("end", ["killed", "failed"])
async def test_an_attempt_at_a_pulled_job_takes_nothing_from_the_next(tmp_path: Path, end: str) -> None:
    """Its grant is for this job alone and pays one attempt, whole: the worker whose first one ended may try again."""
    first = request()
    desk = await _desk(tmp_path, Delivery.WHOLE)
    desk.begin(first, grant())
    await desk.reserve(key_of(first.body), grant(), 900)
    if end == "failed":
        await desk.finish(key_of(first.body), 800)
    else:
        await desk.close()
        desk = await _desk(tmp_path, Delivery.WHOLE)
    with pytest.raises(JobError, match="before"):
        desk.begin(first, grant())
    second = request(job=first.body.job, segment=1)
    desk.begin(second, grant())
    await desk.reserve(key_of(second.body), grant(), 900)
    third = request(job=first.body.job, segment=2)
    desk.begin(third, grant())
    with pytest.raises(JobError, match="in flight"):
        await desk.reserve(key_of(third.body), grant(), 200)
    await desk.close()


async def test_finish_forget_and_expire_are_written(tmp_path: Path) -> None:
    """Costs come down on disk too, and rows go away."""
    first, second = request(), request()
    desk = await _desk(tmp_path)
    for asked in (first, second):
        desk.begin(asked, grant())
        await desk.reserve(key_of(asked.body), grant(), 400)
    await desk.finish(key_of(first.body), 10)
    await desk.forget(key_of(second.body))
    await desk.close()
    again = await _desk(tmp_path)
    again.begin(second, grant())
    await again.reserve(key_of(second.body), grant(), 990)
    await again.expire(EPOCH + 10_000)
    again.begin(first, grant())
    await again.close()


async def test_what_was_vouched_for_is_known_after_a_restart(tmp_path: Path) -> None:
    """An overlapping segment is refused by the next process too."""
    asked = request()
    desk = await _desk(tmp_path)
    desk.begin(asked, grant())
    await desk.reserve(key_of(asked.body), grant(), 400)
    await desk.finish(key_of(asked.body), 10)
    desk.vouch(key_of(asked.body), 64)
    await desk.keep(key_of(asked.body))
    await desk.close()
    again = await _desk(tmp_path)
    with pytest.raises(JobError, match="64"):
        again.begin(request(job=asked.body.job, segment=1), grant())
    await again.close()


async def test_a_full_disk_refuses_retryably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that cannot be remembered is not worked on; ends and deletions go on without the disk."""
    desk = await _desk(tmp_path)

    async def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    asked = request()
    desk.begin(asked, grant())
    monkeypatch.setattr(desk._store, "save", full)
    monkeypatch.setattr(desk._store, "delete", full)
    with pytest.raises(JobError, match="disk is full") as caught:
        await desk.reserve(key_of(asked.body), grant(), 1)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.BUSY, True)
    await desk.finish(key_of(asked.body), 1)
    await desk.keep(key_of(asked.body))
    await desk.forget(key_of(asked.body))
    await desk.close()
