"""The operator's commands."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gpunode_tracker.backup.archive import file_digest
from gpunode_tracker.commands import commands
from gpunode_tracker.errors import BackupUnusable
from typer.testing import CliRunner

runner = CliRunner()


@pytest.fixture
def data_dir(fresh_data_dir: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    return Path(shutil.copytree(fresh_data_dir, tmp_path / "tracker"))


def _json(*arguments: str) -> Any:
    result = runner.invoke(commands, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_there_and_back(data_dir: Path, tmp_path: Path) -> None:
    """One JSON object each; the digest leads from the one to the other."""
    account = _json("create-account", "Alice", "--data-dir", str(data_dir))
    made = _json("backup", str(tmp_path), "--data-dir", str(data_dir))
    target = str(tmp_path / "new")
    restored = _json("restore", made["file"], "--sha256", made["sha256"], "--data-dir", target)
    assert restored["network"] == made["network"]
    assert restored["rows"] == made["rows"]
    (shown,) = _json("show", "--data-dir", target)["accounts"]
    assert (shown["account"], shown["spendable_microcredits"]) == (account["account"], 1_000_000_000)
    with pytest.raises(BackupUnusable, match="not empty"):
        _json("restore", made["file"], "--data-dir", target)


def test_for_people(data_dir: Path, tmp_path: Path) -> None:
    """What to do next stands below."""
    made = runner.invoke(commands, ["backup", str(tmp_path / "b"), "--data-dir", str(data_dir)])
    assert "not in it: keep a copy of it offline" in made.stdout.replace("\n", " ")
    assert file_digest(tmp_path / "b") in made.stdout.splitlines()
    restored = runner.invoke(commands, ["restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "new")])
    assert "gpunode tracker start --data-dir" in restored.stdout
    made = runner.invoke(commands, ["backup", str(tmp_path / "r"), "--with-root-key", "--data-dir", str(data_dir)])
    assert "in it: keep it offline" in made.stdout.replace("\n", " ")


def test_a_database_elsewhere(data_dir: Path, tmp_path: Path) -> None:
    """The next step names it: without, the tracker would start on an empty one."""
    made = _json("backup", str(tmp_path), "--data-dir", str(data_dir))
    where = ["--data-dir", str(tmp_path / "new"), "--database-url", f"sqlite+aiosqlite:///{tmp_path}/elsewhere.db"]
    restored = runner.invoke(commands, ["restore", made["file"], *where], catch_exceptions=False)
    assert restored.stdout.rstrip().endswith("and the same database URL")
