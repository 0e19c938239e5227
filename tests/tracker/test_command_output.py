"""What the operator sees of his commands."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gpunode_tracker.administration import Administration
from gpunode_tracker.command_output import run_on_data_folder, show_facts
from gpunode_tracker.errors import NotFound


def test_one_object_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets of names are no markup."""
    show_facts({"api_key": "[b]x", "n": 1}, True, "Title", hint="{n} left")
    assert json.loads(capsys.readouterr().out) == {"api_key": "[b]x", "n": 1}
    show_facts({"api_key": "[b]x", "n": 1}, False, "Title", hint="{n} left")
    text = capsys.readouterr().out
    assert "api key" in text
    assert "[b]x" in text
    assert "1 left" in text


def test_opened_on_the_folder_of_the_settings(fresh_data_dir: Path, tmp_path: Path) -> None:
    """A folder without a tracker is refused, and nothing is made."""
    data_dir = Path(shutil.copytree(fresh_data_dir, tmp_path / "tracker"))

    async def network(admin: Administration) -> Any:
        return admin.keys.network

    assert len(run_on_data_folder({"data_dir": data_dir}, network)) == 40
    with pytest.raises(NotFound):
        run_on_data_folder({"data_dir": tmp_path / "none"}, network)
    assert not (tmp_path / "none").exists()
