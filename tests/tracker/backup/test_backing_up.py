"""Making backups while the tracker works."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpunode_tracker.backup import backing_up
from gpunode_tracker.backup.archive import file_digest, open_archive
from gpunode_tracker.backup.backing_up import back_up
from gpunode_tracker.backup.restoring import restore
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.sealing_key_file import NOTICED_S

from tests.tracker.backup.conftest import live, serving
from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH, ON_SQLITE
from tests.tracker.jobs.queue_parties import Queue
from tests.tracker.parties import TestClock

Empty = Callable[..., Any]


@ON_BOTH
async def test_while_jobs_are_written(
    settings: TrackerSettings, clock: TestClock, tmp_path: Path, empty: Empty
) -> None:
    """It holds one instant: no job without its reservation, and the sum of the ledger is 0."""
    written: list[str] = []
    enough = asyncio.Event()

    async def write(world: World, account: str) -> None:
        while True:
            job = await Queue(world.tracker).submit(account)
            written.append(job.id)
            if len(written) >= 20:
                enough.set()
            if len(written) % 3 == 0:
                await world.tracker.sequence()

    async with serving(settings, clock) as world:
        account, _ = await world.account(credits_given=1_000)
        writers = [asyncio.create_task(write(world, account)) for _ in range(3)]
        await enough.wait()
        before = len(written)
        await back_up(world.admin, tmp_path / "b")
        after = len(written)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    with empty("sqlite") as target:
        await restore(target, tmp_path / "b", clock)
        async with serving(target, clock) as world:
            queue = Queue(world.tracker)
            kept = [await _find(queue, job_id) for job_id in written]
            assert before <= sum(kept) <= after + len(writers)
            assert await queue.ledger_sum() == 0
            reserved = (await world.admin.balances())[0][1].reserved_microcredits
            assert reserved % sum(kept) == 0
            assert reserved > 0


async def _find(queue: Queue, job_id: str) -> bool:
    from gpunode_tracker.storage.jobs import find_job

    async with queue.tracker.database.read() as connection:
        return await find_job(connection, job_id) is not None


@ON_SQLITE
async def test_the_file(world: World, tmp_path: Path) -> None:
    """Named after network and instant in a folder, for its owner only, and nothing else is left there."""
    folder = tmp_path / "backups"
    folder.mkdir()
    facts = await back_up(world.admin, folder)
    (path,) = folder.iterdir()
    assert path.name == f"gpunode-tracker-{world.network[:8]}-20250615T150640Z.tar.gz"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert facts["file"] == str(path)
    assert facts["sha256"] == file_digest(path)
    assert facts["size_bytes"] == path.stat().st_size


@ON_SQLITE
async def test_nothing_is_overwritten(world: World, tmp_path: Path) -> None:
    """Neither a file nor a folder that is not there is guessed at."""
    path = tmp_path / "b"
    path.write_text("mine")
    with pytest.raises(InvalidRequest, match="exists already"):
        await back_up(world.admin, path)
    assert path.read_text() == "mine"
    with pytest.raises(InvalidRequest, match="no folder"):
        await back_up(world.admin, tmp_path / "nowhere" / "b")


@ON_SQLITE
async def test_the_root_key_only_when_asked_for(world: World, tmp_path: Path) -> None:
    """Who has it can replace the tracker."""
    for with_root_key in (False, True):
        facts = await back_up(world.admin, tmp_path / f"b-{with_root_key}", with_root_key=with_root_key)
        assert facts["has_root_key"] is with_root_key
        with open_archive(tmp_path / f"b-{with_root_key}") as archive:
            assert ("keys/root.key" in {part.name for part in archive.manifest.files}) is with_root_key


@ON_BOTH
async def test_no_secret_of_clients_is_readable(world: World, tmp_path: Path) -> None:
    """Prompts and results stay sealed, keys and tokens hashed; the archive's own keys open the former."""
    lived = await live(world)
    await back_up(world.admin, tmp_path / "b")
    with open_archive(tmp_path / "b") as archive:
        content = b"".join(file.read() for _, file in archive.members())
    for secret in (b"Hello", b"Hi!", lived.key.encode(), lived.token.encode(), b"example.com/hook"):
        assert secret not in content


@ON_SQLITE
async def test_a_sealing_key_that_is_dropped_meanwhile(
    world: World, clock: TestClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the backup may need it: there is no such backup."""
    await world.admin.sealing.rotate()
    clock.advance(NOTICED_S)
    read = backing_up.read_key_files

    def drop_and_read(*args: Any, **more: Any) -> dict[str, bytes]:
        content = world.admin.sealing._change(lambda content: content.without_old_keys())
        assert len(content.keys) == 1
        return read(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(backing_up, "read_key_files", drop_and_read)
        with pytest.raises(InvalidRequest, match="Make it again"):
            await back_up(world.admin, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    await back_up(world.admin, tmp_path / "b")


@ON_SQLITE
async def test_a_disk_that_is_full(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the attempt."""
    folder = tmp_path / "backups"
    folder.mkdir()

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backing_up, "_pack", fail)
    with pytest.raises(InvalidRequest, match="No space left on device"):
        await back_up(world.admin, folder)
    assert list(folder.iterdir()) == []
