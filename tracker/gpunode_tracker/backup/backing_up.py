"""``gpunode tracker backup``: everything that a tracker cannot be without, as it was at one instant, while it runs."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpunode_protocol.signing import read_body
from gpunode_protocol.tree_head import TreeHead
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.administration import Administration
from gpunode_tracker.audit import Action
from gpunode_tracker.backup.archive import ArchiveWriter, file_digest, new_archive
from gpunode_tracker.backup.key_files import has_root_key, read_key_files
from gpunode_tracker.backup.manifest import FORMAT, LogPart, Manifest, TablePart
from gpunode_tracker.backup.table_rows import tables_to_keep, write_rows
from gpunode_tracker.errors import BackupUnusable, InvalidRequest
from gpunode_tracker.sealing_key_file import SEALING_KEYS_FILE, read_key_file
from gpunode_tracker.storage import audit
from gpunode_tracker.storage.documents import DocumentKind, newest
from gpunode_tracker.storage.migrate import present_revision


@dataclass(frozen=True)
class _Dump:
    """What was read in one transaction."""

    tables: list[TablePart]
    log: LogPart
    schema_revision: str


async def back_up(admin: Administration, target: Path, *, with_root_key: bool = False) -> dict[str, Any]:
    """Write an archive; return what is in it.

    Args:
        admin: of the tracker, which may run meanwhile.
        target: the new file, or a folder in which it gets a name.
        with_root_key: put the network's root key into it too.

    Raises:
        InvalidRequest: the file exists, cannot be written, or keys were changed meanwhile.
        StorageUnavailable: the database does not answer.
    """
    now = int(admin.clock())
    path = target / _name(admin, now) if target.is_dir() else target
    if not path.parent.is_dir():
        raise InvalidRequest(f"There is no folder {path.parent}. Make it first.")
    async with admin.database.write() as connection:  # also if it fails then: somebody wanted a copy of everything
        subject, detail = f"network:{admin.keys.network}", {"with_root_key": with_root_key}
        await audit.record(connection, admin.actor.name, Action.BACKED_UP, subject, detail, at=now)
    sealing_path = admin.settings.data_dir / SEALING_KEYS_FILE
    sealing_keys = set(read_key_file(sealing_path).keys)
    with new_archive(path) as archive:
        dump = await _dump(admin, archive.folder)
        # after the rows: a key comes into its file before anything refers to it
        keys = read_key_files(admin.settings.data_dir, with_root_key=with_root_key)
        if not sealing_keys <= set(read_key_file(sealing_path).keys):
            raise InvalidRequest("A sealing key was dropped while the backup was made. Make it again.")
        manifest = await asyncio.to_thread(_pack, archive, dump, keys, admin, now)
    return {
        "file": str(path),
        "sha256": file_digest(path),
        "size_bytes": path.stat().st_size,
        "network": manifest.network,
        "rows": sum(part.rows for part in manifest.tables),
        "ledger_size": manifest.log.size,
        "has_root_key": manifest.has_root_key,
    }


async def _dump(admin: Administration, folder: Path) -> _Dump:
    async with admin.database.snapshot() as connection:
        tables = []
        for table in tables_to_keep():
            with (folder / f"{table.name}.msgpack").open("xb") as file:
                tables.append(await write_rows(connection, table, file))
        revision = await connection.run_sync(present_revision)
        return _Dump(tables, await _log(connection), revision or "")


async def _log(connection: AsyncConnection) -> LogPart:
    envelope = await newest(connection, DocumentKind.TREE_HEAD)
    if envelope is None:
        raise BackupUnusable("The ledger has no signed head yet. Start the tracker once, then make the backup.")
    head = read_body(TreeHead, envelope)
    return LogPart(id=head.log, size=head.size, root=head.root.hex(), issued_at=head.issued_at)


def _pack(archive: ArchiveWriter, dump: _Dump, keys: dict[str, bytes], admin: Administration, now: int) -> Manifest:
    for part in dump.tables:
        archive.add_file(part.member, archive.folder / f"{part.name}.msgpack")
    for name, data in keys.items():
        archive.add_bytes(name, data)
    manifest = Manifest(
        format=FORMAT,
        made_by=version("gpunode"),
        created_at=now,
        network=admin.keys.network,
        schema_revision=dump.schema_revision,
        database="postgresql" if admin.database.is_shared else "sqlite",
        log=dump.log,
        has_root_key=has_root_key(keys),
        tables=dump.tables,
        files=archive.files,
    )
    archive.finish(manifest)
    return manifest


def _name(admin: Administration, now: int) -> str:
    at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"gpunode-tracker-{admin.keys.network[:8]}-{at}.tar.gz"
