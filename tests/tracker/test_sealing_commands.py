"""``gpunode tracker rotate-sealing-key|adopt-keys``."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gpunode_tracker.commands import commands
from gpunode_tracker.errors import InvalidRequest
from typer.testing import CliRunner

from tests.tracker.operator_commands import run_json

runner = CliRunner()


@pytest.fixture
def data_dir(fresh_data_dir: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    return Path(shutil.copytree(fresh_data_dir, tmp_path / "tracker"))


def _json(data_dir: Path, *options: str) -> Any:
    arguments = ["rotate-sealing-key", *options, "--json", "--data-dir", str(data_dir)]
    result = runner.invoke(commands, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_prepared_rotated_dropped(data_dir: Path) -> None:
    """Ids only are shown."""
    prepared = _json(data_dir, "--prepare")
    rotated = _json(data_dir)
    assert rotated == {"sealing_key": prepared["prepared"], "prepared": None, "old_keys": [prepared["sealing_key"]]}
    with pytest.raises(InvalidRequest, match="Wait until 60 s"):
        _json(data_dir, "--drop-old")


def test_one_step_at_a_time(data_dir: Path) -> None:
    """Two options make no sense."""
    arguments = ["rotate-sealing-key", "--drop-old", "--prepare", "--data-dir", str(data_dir)]
    assert runner.invoke(commands, arguments).exit_code == 2


def test_adopted(data_dir: Path) -> None:
    """The files that are there count, and what is lost is made; ids only are shown."""
    (data_dir / "dispatch.key").unlink()
    adopted = run_json(data_dir, "adopt-keys")
    assert (data_dir / "dispatch.key").exists()
    assert adopted == {"dispatch_key": adopted["dispatch_key"], "sealing_key": _json(data_dir)["old_keys"][0]}
