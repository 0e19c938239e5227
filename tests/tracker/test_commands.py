"""The command line of the operator."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
from gpunode_tracker.commands import commands, register
from typer.testing import CliRunner

runner = CliRunner()


def _json(data_dir: Path, *arguments: str) -> Any:
    result = runner.invoke(commands, [*arguments, "--json", "--data-dir", str(data_dir)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_from_account_to_key(data_dir: Path) -> None:
    """Each command prints one JSON object that feeds the next."""
    account = _json(data_dir, "create-account", "Alice")
    assert (account["name"], account["credits"]) == ("Alice", 1_000)
    key = _json(data_dir, "create-key", account["account"])
    assert key["api_key"].startswith("gpn_")
    issued = _json(data_dir, "issue", account["account"], "5")
    assert issued["spendable_microcredits"] == 1_005_000_000
    by_name = _json(data_dir, "issue", "Alice", "5")
    assert (by_name["account"], by_name["spendable_microcredits"]) == (account["account"], 1_010_000_000)
    assert _json(data_dir, "create-key", "Alice")["account"] == account["account"]
    assert _json(data_dir, "create-account", "Bob", "--credits", "0", "--promotional")["promotional"] is True
    shown = _json(data_dir, "show")
    assert [item["name"] for item in shown["accounts"]] == ["Alice", "Bob"]
    assert _json(data_dir, "rotate-key")["sequence"] == 2


def test_tables_for_people(data_dir: Path) -> None:
    """Without --json there is a table and the next step."""
    result = runner.invoke(commands, ["create-account", "Alice", "--data-dir", str(data_dir)])
    assert "Alice" in result.stdout
    assert "gpunode tracker create-key a" in result.stdout


def test_revoke_needs_one_target(data_dir: Path) -> None:
    """Neither none nor both."""
    for arguments in (["revoke"], ["revoke", "--grant", "x", "--node", "y"]):
        result = runner.invoke(commands, [*arguments, "--data-dir", str(data_dir)])
        assert result.exit_code == 2


def test_registering_imports_nothing_heavy() -> None:
    """``gpunode --help`` needs the module, and must stay quick."""
    code = (
        "import sys, gpunode_tracker.commands\n"
        "heavy = {'aiohttp', 'sqlalchemy', 'hivemind', 'torch', 'pydantic', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_group_is_added() -> None:
    """The root command gets one group."""
    app = typer.Typer()
    register(app)
    assert [group.typer_instance.info.name for group in app.registered_groups if group.typer_instance] == ["tracker"]
