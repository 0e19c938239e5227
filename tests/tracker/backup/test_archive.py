"""The file of a backup."""

from pathlib import Path

import pytest
from gpunode_tracker.backup.archive import new_archive, open_archive
from gpunode_tracker.backup.manifest import FORMAT, LogPart, Manifest, TablePart
from gpunode_tracker.errors import BackupUnusable, InvalidRequest


def _write(path: Path, members: dict[str, bytes], tables: list[str] | None = None) -> None:
    with new_archive(path) as archive:
        for name, data in members.items():
            archive.add_bytes(name, data)
        manifest = Manifest(
            format=FORMAT,
            made_by="0",
            created_at=1,
            network="0" * 40,
            schema_revision="0001",
            database="sqlite",
            log=LogPart(id="l", size=0, root="0" * 64, issued_at=1),
            has_root_key=False,
            tables=[TablePart(name=name, columns=[], rows=0) for name in tables or []],
            files=archive.files,
        )
        archive.finish(manifest)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """In its order, also larger than a buffer."""
    members = {"tables/a.msgpack": b"", "tables/b.msgpack": b"x" * 3_000_000, "keys/c.key": b"key"}
    _write(tmp_path / "a", members)
    with open_archive(tmp_path / "a") as archive:
        for _ in range(2):
            assert [(name, content.read()) for name, content in archive.members()] == list(members.items())


def test_a_file_on_disk_is_added(tmp_path: Path) -> None:
    """With its size and digest."""
    (tmp_path / "rows").write_bytes(b"rows")
    with new_archive(tmp_path / "a") as archive:
        archive.add_file("tables/a.msgpack", tmp_path / "rows")
        assert archive.files[0].size == 4


def test_it_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """What fails leaves nothing; a name that is taken meanwhile is not replaced."""
    with pytest.raises(InvalidRequest, match="No such file"), new_archive(tmp_path / "a") as archive:
        archive.add_file("tables/a.msgpack", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidRequest, match="exists already"), new_archive(tmp_path / "a"):
        (tmp_path / "a").write_text("mine")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "mine")]


def test_a_table_without_its_rows(tmp_path: Path) -> None:
    """The manifest names it, so it must be there."""
    _write(tmp_path / "a", {"tables/a.msgpack": b""}, tables=["a", "b"])
    with pytest.raises(BackupUnusable, match="lacks tables that its manifest names: b"), open_archive(tmp_path / "a"):
        pass


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(InvalidRequest, match="cannot be written"), new_archive(tmp_path / "nowhere" / "a"):
        pass
