"""Restoring: on either database, all of it or nothing, in a ledger that says so."""

import gzip
import io
import json
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.ledger_proofs import ReceiptProof, RestorationsReply, verify_receipt_proof
from gpunode_protocol.merkle import consistency_is_valid, inclusion_is_valid, leaf_hash
from gpunode_protocol.mesh.keyfile import load_identity
from gpunode_protocol.tree_head import TreeHead
from gpunode_tracker.backup.backing_up import back_up
from gpunode_tracker.backup.restoring import restore
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import BackupUnusable, StorageUnavailable
from gpunode_tracker.storage.tables import metadata
from sqlalchemy import func, select

from tests.tracker.backup.conftest import Backup, live, serving
from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH, ON_SQLITE
from tests.tracker.jobs.queue_parties import ANSWER, HELLO, Queue
from tests.tracker.parties import TestClock

Empty = Callable[..., Any]


def _head(world: World) -> TreeHead:
    assert world.tracker.sequencer.head is not None
    return world.tracker.keys.trust.open_tree_head(world.tracker.sequencer.head).body


async def _counts(world: World) -> dict[str, int]:
    async with world.tracker.database.read() as connection:
        return {
            name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for name, table in metadata.tables.items()
        }


@ON_BOTH
@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
async def test_everything_is_there_again(backup: Backup, clock: TestClock, empty: Empty, to: str) -> None:
    """Keys and tokens let in, jobs open, the queue goes on, numbers go on; from each database to each."""
    with empty(to) as target:
        facts = await restore(target, backup.path, clock)
        assert facts["network"] == backup.network
        async with serving(target, clock) as world:
            lived, queue = backup.lived, Queue(world.tracker)
            assert world.network == backup.network
            assert (await world.balance(key=lived.key)).account == lived.account
            assert (await world.balance(token=lived.token)).spendable_microcredits > 0
            assert world.tracker.desk.result_of(await queue.job(lived.completed)) == ANSWER
            assert world.tracker.desk.params_of(await queue.job(lived.queued)) == HELLO
            job, lease = await queue.claim("worker:other")
            assert job.id == lived.queued
            assert await world.tracker.desk.complete(lease, ANSWER, processing_ms=1) is not None
            assert await queue.ledger_sum() == 0
            assert await queue.submit(lived.account)


@ON_BOTH
async def test_every_table_comes_back(
    settings: TrackerSettings, clock: TestClock, empty: Empty, tmp_path: Path
) -> None:
    """With all of its rows; the ledger has one entry more."""
    async with serving(settings, clock) as world:
        await live(world)
        await back_up(world.admin, tmp_path / "b")
        before = await _counts(world)
    with empty("sqlite") as target:
        await restore(target, tmp_path / "b", clock)
        async with serving(target, clock) as world:
            after = await _counts(world)
    grown = {name: after[name] - count for name, count in before.items() if after[name] != count}
    # the entry, a head over it, the new log's epoch; restorations and two floors; the restore
    assert grown == {"ledger_entries": 1, "signed_documents": 1, "sequencers": 1, "meta": 3, "audit_log": 1}


@ON_SQLITE
async def test_old_receipts_are_proven(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """Under a head of the new log, against the same root key."""
    with empty("sqlite") as target:
        await restore(target, backup.path, clock)
        async with serving(target, clock) as world:
            path = api.RECEIPT_PATH.format(receipt=backup.lived.receipt)
            response = await world.get(path, token=backup.lived.token)
            proof = ReceiptProof.model_validate_json(await response.text())
            verified = verify_receipt_proof(proof, world.tracker.keys.trust.root_public_key)
            assert verified.receipt.digest.hex() == backup.lived.receipt


@ON_BOTH
async def test_a_new_log_commits_to_the_old_one(
    settings: TrackerSettings, clock: TestClock, empty: Empty, tmp_path: Path
) -> None:
    """Everybody can see what was restored; who kept a later head can show that entries are lost."""
    async with serving(settings, clock) as world:
        await live(world)
        known = _head(world)
        await back_up(world.admin, tmp_path / "b")
        await world.account()  # the entry that will be lost
        await world.tracker.sequence()
        later = _head(world)
    with empty("sqlite") as target:
        await restore(target, tmp_path / "b", clock)
        async with serving(target, clock) as world:
            await world.account()
            await world.tracker.sequence()
            reply = RestorationsReply.model_validate_json(await (await world.get(api.RESTORATIONS_PATH)).text())
            head = world.tracker.keys.trust.open_tree_head(reply.head).body
            (restoration,) = reply.restorations
            consistency = world.tracker.sequencer.consistency(known.size, head.size)
            lost = world.tracker.sequencer.consistency(later.size, head.size)
    assert head.log != known.log
    assert inclusion_is_valid(restoration.index, head.size, leaf_hash(restoration.entry), restoration.path, head.root)
    entry = LedgerEntry.from_leaf(restoration.entry)
    assert entry.restored is not None
    assert (entry.kind, entry.restored.log, entry.restored.size) == ("restored", known.log, known.size)
    assert (entry.restored.root, entry.restored.issued_at) == (known.root, known.issued_at)
    assert restoration.index == known.size < later.size
    assert consistency_is_valid(known.size, head.size, known.root, head.root, consistency)
    assert not consistency_is_valid(later.size, head.size, later.root, head.root, lost)


@ON_SQLITE
async def test_restored_twice(backup: Backup, clock: TestClock, empty: Empty, tmp_path: Path) -> None:
    """A backup of a restored tracker restores too, and both restores are told."""
    with empty("sqlite") as target:
        await restore(target, backup.path, clock)
        async with serving(target, clock) as world:
            await back_up(world.admin, tmp_path / "second")
    with empty("sqlite", "again") as target:
        await restore(target, tmp_path / "second", clock)
        async with serving(target, clock) as world:
            reply = RestorationsReply.model_validate_json(await (await world.get(api.RESTORATIONS_PATH)).text())
    first, second = (LedgerEntry.from_leaf(item.entry).restored for item in reply.restorations)
    assert first is not None
    assert second is not None
    assert second.size == first.size + 1
    assert second.log != first.log


@ON_SQLITE
async def test_lost_revocations_are_outdone(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """The first list and the first key set after a restore have larger sequences than any that was lost."""
    clock.advance(1_000)
    with empty("sqlite") as target:
        await restore(target, backup.path, clock)
        async with serving(target, clock) as world:
            before = world.tracker.revocations.body.sequence
            await world.admin.revoke_node(backup.lived.node.peer_id)
            await world.tracker.refresh()
            assert world.tracker.revocations.body.sequence > before + 1_000
            shutil.copy(backup.path.parent / "tracker" / "root.key", target.data_dir)
            keyset = await world.admin.rotate_key(root_key=None, at_once=True)
            assert keyset.sequence > 1_000
            assert (await world.admin.rotate_key(root_key=None, at_once=False)).sequence == keyset.sequence + 1


@ON_SQLITE
async def test_key_files(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """The same keys, for their owner only; the root key stays away unless it was asked for."""
    original = backup.path.parent / "tracker"
    with empty("sqlite") as target:
        await restore(target, backup.path, clock)
        names = {str(path.relative_to(target.data_dir)) for path in target.data_dir.rglob("*.key")}
        assert names == {str(path.relative_to(original)) for path in original.rglob("*.key")} - {"root.key"}
        for path in (*target.data_dir.rglob("*.key"), target.data_dir / "sealing_keys.json", target.sqlite_path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert _peer(target.data_dir) == _peer(original)


def _peer(data_dir: Path) -> str:
    return load_identity(data_dir / "dispatch.key").peer_id


async def _refused(target: TrackerSettings, path: Path, clock: TestClock, words: str, **more: Any) -> None:
    """Check that a restore is refused, and that nothing was made."""
    existed = target.data_dir.exists()
    before = sorted(target.data_dir.rglob("*")) if existed else []
    with pytest.raises(BackupUnusable, match=words):
        await restore(target, path, clock, **more)
    assert target.data_dir.exists() == existed
    assert (sorted(target.data_dir.rglob("*")) if existed else []) == before


def _rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Return a copy of an archive with members changed, or left out where ``change`` returns None."""
    copy = path.with_name("changed.tar.gz")
    with tarfile.open(path) as old, tarfile.open(copy, "w:gz") as new:
        for info in old:
            content = old.extractfile(info)
            assert content is not None
            data = change(info.name, content.read())
            if data is not None:
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
    return copy


def _flip(name: str) -> Callable[[str, bytes], bytes]:
    return lambda member, data: data[:-1] + bytes([data[-1] ^ 1]) if member == name and data else data


@ON_SQLITE
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_flip("tables/accounts.msgpack"), "was changed after it was made"),
        (_flip("keys/dispatch.key"), "was changed after it was made"),
        (lambda name, data: None if name == "tables/jobs.msgpack" else data, "was changed after it was made"),
        (lambda name, data: None if name == "manifest.json" else data, "has no manifest"),
        (lambda name, data: b"{}" if name == "manifest.json" else data, "its manifest cannot be read"),
        (
            lambda name, data: data.replace(b'"format": 1', b'"format": 2') if name == "manifest.json" else data,
            "format",
        ),
    ],
    ids=["a row", "a key", "a table less", "no manifest", "empty manifest", "another format"],
)
async def test_a_changed_archive_is_refused(
    backup: Backup, clock: TestClock, empty: Empty, change: Callable[[str, bytes], bytes | None], words: str
) -> None:
    """Before anything is made."""
    with empty("sqlite") as target:
        await _refused(target, _rewritten(backup.path, change), clock, words)


@ON_SQLITE
async def test_a_damaged_file_is_refused(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """Cut off, flipped in the middle, of another kind, or missing."""
    data = backup.path.read_bytes()
    damaged = {
        "short": data[:-100],
        "flipped": data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :],
        "text": b"no archive",
        "empty": b"",
        "zeros": gzip.compress(bytes(4096)),
    }
    with empty("sqlite") as target:
        for name, content in damaged.items():
            (backup.path.parent / name).write_bytes(content)
            await _refused(target, backup.path.parent / name, clock, "damaged|manifest")
        await _refused(target, backup.path.parent / "nowhere", clock, "There is no backup")


@ON_SQLITE
async def test_a_second_archive_behind_it(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """Nothing may follow the end, whether it was packed together with the rest or apart."""
    raw = gzip.decompress(backup.path.read_bytes())
    end = len(raw.rstrip(b"\0"))
    unpadded = raw[: end + -end % 512 + 1024]
    for content in (backup.path.read_bytes() * 2, gzip.compress(unpadded * 2), gzip.compress(unpadded + b"x")):
        path = backup.path.with_name("longer.tar.gz")
        path.write_bytes(content)
        with empty("sqlite") as target:
            await _refused(target, path, clock, "damaged")


@ON_SQLITE
async def test_members_that_do_not_belong(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """Links, and names that lead out of the folder, are refused whatever the manifest says."""
    for info in (tarfile.TarInfo("keys/link.key"), tarfile.TarInfo("../evil")):
        path = shutil.copy(backup.path, backup.path.with_name("added.tar.gz"))
        raw = gzip.decompress(Path(path).read_bytes())
        info.type = tarfile.SYMTYPE if "link" in info.name else tarfile.REGTYPE
        info.linkname = "/etc/passwd" if "link" in info.name else ""
        Path(path).write_bytes(gzip.compress(info.tobuf() + raw))
        with empty("sqlite") as target:
            await _refused(target, Path(path), clock, "damaged|changed")


@ON_SQLITE
async def test_the_noted_digest(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """What was noted at the backup tells an archive that somebody made anew from the right one."""
    with empty("sqlite") as target:
        await _refused(target, backup.path, clock, "not the file whose SHA-256", sha256="0" * 64)
        await restore(target, backup.path, clock, sha256=backup.facts["sha256"].upper())


def _consistent(change: Callable[[str, bytes], bytes]) -> Callable[[str, bytes], bytes]:
    """Change members as somebody would who fits the manifest to what he has done."""
    import hashlib

    digests: dict[str, tuple[int, str]] = {}

    def apply(name: str, data: bytes) -> bytes:
        if name != "manifest.json":
            data = change(name, data)
            digests[name] = len(data), hashlib.sha256(data).hexdigest()
            return data
        manifest = json.loads(data)
        for part in manifest["files"]:
            part["size"], part["sha256"] = digests[part["name"]]
        return json.dumps(manifest).encode()

    return apply


@ON_SQLITE
async def test_a_ledger_that_does_not_fit_its_head(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """Its head is signed, so leaves cannot be changed even together with the manifest; nothing is left behind."""
    import msgpack

    def change(name: str, data: bytes) -> bytes:
        if name != "tables/ledger_entries.msgpack":
            return data
        rows = list(msgpack.Unpacker(io.BytesIO(data), raw=False))
        rows[0][5] = bytes(32)
        return b"".join(msgpack.packb(row) for row in rows)

    with empty("sqlite") as target:
        with pytest.raises(BackupUnusable, match="not the one of its last signed head"):
            await restore(target, _rewritten(backup.path, _consistent(change)), clock)
        assert [path.name for path in target.data_dir.rglob("*")] == ["tracker.lock"]
        await restore(target, backup.path, clock)


@ON_SQLITE
@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
async def test_rows_that_the_database_refuses(backup: Backup, clock: TestClock, empty: Empty, to: str) -> None:
    """All or nothing: keys and tables are taken away again."""

    def change(name: str, data: bytes) -> bytes:
        return data[: len(data) // 2] if name == "tables/transfers.msgpack" else data

    with empty(to) as target:
        with pytest.raises(BackupUnusable, match="Nothing was changed"):
            await restore(target, _rewritten(backup.path, _consistent(change)), clock)
        assert [path.name for path in target.data_dir.rglob("*")] == ["tracker.lock"]
        await restore(target, backup.path, clock)


@ON_SQLITE
async def test_a_folder_that_is_not_empty(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """A tracker that lives there is not touched."""
    with empty("sqlite") as target:
        target.data_dir.mkdir()
        (target.data_dir / "notes.txt").write_text("mine")
        await _refused(target, backup.path, clock, r"not empty \(notes.txt")
        assert (target.data_dir / "notes.txt").read_text() == "mine"


@ON_BOTH
async def test_a_database_that_is_not_empty(
    backup: Backup, settings: TrackerSettings, clock: TestClock, empty: Empty
) -> None:
    """It keeps what it has."""
    with empty("sqlite") as target:
        used = target.model_copy(update={"database_url": settings.database_url})
        if settings.database_url is None:
            used = TrackerSettings.load({"data_dir": target.data_dir, "database_url": settings.sqlalchemy_url})
        await _refused(used, backup.path, clock, "The database is not empty")
    async with serving(settings, clock) as world:
        assert (await world.balance(key=backup.lived.key)).account == backup.lived.account


@ON_SQLITE
async def test_a_backup_of_a_newer_version(backup: Backup, clock: TestClock, empty: Empty) -> None:
    """It says which version is needed."""

    def change(name: str, data: bytes) -> bytes:
        if name != "manifest.json":
            return data
        return json.dumps(json.loads(data) | {"schema_revision": "9999", "made_by": "7.0"}).encode()

    with empty("sqlite") as target:
        await _refused(target, _rewritten(backup.path, change), clock, r"gpunode 7\.0, which is newer")


@ON_SQLITE
async def test_a_disk_that_fills_up(
    backup: Backup, clock: TestClock, empty: Empty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind, and it is no fault of the backup."""

    async def fail(*_args: object, **_more: object) -> None:
        raise StorageUnavailable

    with empty("sqlite") as target:
        with monkeypatch.context() as patch:
            patch.setattr("gpunode_tracker.backup.restoring._begin_new_log", fail)
            with pytest.raises(StorageUnavailable):
                await restore(target, backup.path, clock)
        assert [path.name for path in target.data_dir.rglob("*")] == ["tracker.lock"]
