"""``gpunode tracker restore``: an archive into an empty data folder and an empty database, all of it or nothing.

The ledger goes on in a new log: its first new entry names the last head that the backup knows of the old one, whose
entries stay where they were. So every proof of before still verifies, and whoever kept a later head can show that
entries were lost.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpunode_protocol.ledger_entries import RestoredLog
from gpunode_protocol.merkle import tree_hash
from gpunode_protocol.signing import read_body
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import Trust
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker import Clock
from gpunode_tracker.audit import OPERATOR, Action
from gpunode_tracker.backup.archive import Archive, open_archive
from gpunode_tracker.backup.key_files import is_key_file, write_key_file
from gpunode_tracker.backup.manifest import Manifest
from gpunode_tracker.backup.table_rows import insert_rows, reflected_tables
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.data_folder import LOCK_FILE, being_restored, locked
from gpunode_tracker.entries import Bookkeeper
from gpunode_tracker.errors import BackupUnusable, StorageUnavailable
from gpunode_tracker.keys import ROOT_PUBLIC_KEY
from gpunode_tracker.restorations import note_restoration, raise_floors
from gpunode_tracker.storage import audit, ledger
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import DocumentKind, find_constant, newest, replace_value
from gpunode_tracker.storage.failures import failure_of
from gpunode_tracker.storage.migrate import newest_revision, upgrade


async def restore(settings: TrackerSettings, path: Path, clock: Clock, *, sha256: str | None = None) -> dict[str, Any]:
    """Restore an archive; return what is there now.

    Args:
        settings: data folder and database, both empty.
        path: the archive.
        clock: Unix seconds.
        sha256: of the archive, as noted when it was made.

    Raises:
        BackupUnusable: the archive is damaged, or folder or database are not empty; nothing was changed.
        StorageUnavailable: the database cannot be written; nothing was changed.
    """
    with open_archive(path, sha256=sha256) as archive:
        manifest = archive.manifest
        if manifest.schema_revision > newest_revision():
            raise BackupUnusable(
                f"The backup was made by gpunode {manifest.made_by}, which is newer than this one. Install that."
            )
        _check_folder(settings.data_dir)
        await _check_database(settings)
        with (
            locked(settings.data_dir),
            being_restored(settings.data_dir),
            _written_key_files(archive, settings.data_dir),
        ):
            await _restore_database(settings, archive, int(clock()))
    return {
        "network": manifest.network,
        "made_at": manifest.created_at,
        "rows": sum(part.rows for part in manifest.tables),
        "ledger_size": manifest.log.size,
        "old_log": manifest.log.id,
        "has_root_key": manifest.has_root_key,
        "data_dir": str(settings.data_dir),
    }


def _check_folder(data_dir: Path) -> None:
    found = sorted(item.name for item in data_dir.iterdir() if item.name != LOCK_FILE) if data_dir.exists() else []
    if found:
        raise BackupUnusable(
            f"{data_dir} is not empty ({', '.join(found[:3])} …): a backup is restored into an empty data folder only. "
            "Choose another one with --data-dir, or move the old one away."
        )


async def _check_database(settings: TrackerSettings) -> None:
    if settings.database_url is None:
        return  # a new file in the empty folder
    database = Database(settings.sqlalchemy_url)
    try:
        async with database.read() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    finally:
        await database.close()
    if names:
        raise BackupUnusable(
            f"The database is not empty: it has {len(names)} tables, {sorted(names)[0]} among them. A backup is "
            "restored into an empty database only. Make a new one."
        )


@contextmanager
def _written_key_files(archive: Archive, data_dir: Path) -> Iterator[None]:
    """Write the key files; take them away again if what follows fails."""
    written: list[Path] = []
    try:
        for name, content in archive.members():
            if is_key_file(name):
                written.append(write_key_file(data_dir, name, content.read()))
        yield
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in written} - {data_dir}:
            folder.rmdir()
        raise


async def _restore_database(settings: TrackerSettings, archive: Archive, now: int) -> None:
    is_file = settings.database_url is None
    if is_file:
        settings.sqlite_path.touch(mode=0o600)
    database = Database(settings.sqlalchemy_url)
    try:
        async with database.overhaul() as connection:
            await connection.run_sync(upgrade, archive.manifest.schema_revision)
            await connection.run_sync(_load, archive)
            await _check_ledger(connection, archive.manifest)
            await connection.run_sync(upgrade)
            await _begin_new_log(connection, archive.manifest, now)
    except BaseException:
        await database.close()
        if is_file:
            for suffix in ("", "-wal", "-shm"):
                settings.sqlite_path.with_name(settings.sqlite_path.name + suffix).unlink(missing_ok=True)
        raise
    await database.close()


def _load(connection: Connection, archive: Archive) -> None:
    tables, parts = reflected_tables(connection).tables, {part.member: part for part in archive.manifest.tables}
    try:
        for name, content in archive.members():
            if name in parts:
                insert_rows(connection, tables[parts[name].name], parts[name], content)
    except (ValueError, KeyError, TypeError) as error:
        raise BackupUnusable(f"The backup's rows do not fit its tables ({error}). Nothing was changed.") from error
    except SQLAlchemyError as error:
        if isinstance(failure_of(error), StorageUnavailable):
            raise  # it is not the backup's fault
        raise BackupUnusable(
            f"The database refuses rows of the backup ({type(error).__name__}). Nothing was changed."
        ) from error


async def _check_ledger(connection: AsyncConnection, manifest: Manifest) -> None:
    """Check that the leaves are those of the last signed head."""
    envelope = await newest(connection, DocumentKind.TREE_HEAD)
    keyset = await newest(connection, DocumentKind.KEYSET)
    root_key = await find_constant(connection, ROOT_PUBLIC_KEY)
    leaves = await ledger.leaf_hashes(connection, 0)
    if envelope is None or keyset is None or root_key is None:
        raise BackupUnusable("The backup has no signed head of its ledger, or no keys to check it.")
    Trust.from_keyset(root_key, keyset).open_tree_head(envelope)
    head = read_body(TreeHead, envelope)
    is_named = (head.log, head.size, head.root.hex()) == (manifest.log.id, manifest.log.size, manifest.log.root)
    if not is_named or len(leaves) != head.size or await asyncio.to_thread(tree_hash, leaves) != head.root:
        raise BackupUnusable("The backup's ledger is not the one of its last signed head. Nothing was changed.")


async def _begin_new_log(connection: AsyncConnection, manifest: Manifest, now: int) -> None:
    old = manifest.log
    log = RestoredLog(log=old.id, size=old.size, root=bytes.fromhex(old.root), issued_at=old.issued_at)
    row = await ledger.append(connection, Bookkeeper(manifest.network, now).restored(log))
    await ledger.set_positions(connection, [row], old.size)
    await replace_value(connection, "log_id", secrets.token_hex(16).encode())
    await note_restoration(connection, row)
    await raise_floors(connection, now=now)
    detail = {"made_at": manifest.created_at, "old_log": old.id, "ledger_size": old.size}
    subject = f"network:{manifest.network}"
    await audit.record(connection, OPERATOR.name, Action.RESTORED, subject, detail, at=now)
