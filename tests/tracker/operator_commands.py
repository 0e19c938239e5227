"""Running the operator's commands in tests."""

import json
from pathlib import Path
from typing import Any

from click.testing import Result
from gpunode_tracker.commands import commands
from typer.testing import CliRunner

_RUNNER = CliRunner()


def run(data_dir: Path, *arguments: str) -> Result:
    """Run a command; errors of gpunode come out, as the root command catches them."""
    return _RUNNER.invoke(
        commands, [*arguments, "--data-dir", str(data_dir)], catch_exceptions=False, env={"COLUMNS": "200"}
    )


def run_json(data_dir: Path, *arguments: str) -> Any:
    """Return the JSON object that a command prints."""
    result = run(data_dir, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def account(data_dir: Path, name: str = "Alice") -> str:
    """Return the id of a new account."""
    return str(run_json(data_dir, "create-account", name, "--credits", "0")["account"])
