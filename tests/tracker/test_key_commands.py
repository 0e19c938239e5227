"""Commands on API keys."""

from pathlib import Path

import pytest
from gpunode_tracker.errors import NotFound

from tests.tracker.operator_commands import account, run, run_json


def test_from_a_key_to_its_end(data_dir: Path) -> None:
    """Made with terms, listed without its secret, replaced, revoked."""
    owner = account(data_dir)
    made = run_json(
        data_dir,
        *("create-key", "Alice", "--name", "ci", "--scope", "ledger", "--scope", "jobs"),
        *("--expires-days", "2", "--requests-per-minute", "9"),
    )
    assert (made["account"], made["scopes"]) == (owner, ["jobs", "ledger"])
    (listed,) = run_json(data_dir, "list-keys")["keys"]
    assert (listed["key"], listed["name"], listed["state"]) == (made["key"], "ci", "active")
    assert listed["requests_per_minute"] == 9
    assert listed["expires_at"] - listed["created_at"] == pytest.approx(2 * 24 * 3600, abs=60)
    rotated = run_json(data_dir, "rotate-key-of", made["key"], "--grace-hours", "1")
    assert rotated["old_key"] == made["key"]
    assert rotated["api_key"].startswith("gpn_")
    assert run_json(data_dir, "revoke-key", rotated["key"])["state"] == "revoked"
    keys = {key["key"]: key for key in run_json(data_dir, "list-keys", owner)["keys"]}
    assert keys[rotated["key"]]["state"] == "revoked"
    assert keys[made["key"]]["expires_at"] < listed["expires_at"]
    assert made["api_key"] not in run(data_dir, "list-keys").stdout


def test_a_key_for_administration(data_dir: Path) -> None:
    """Only if it is asked for."""
    owner = account(data_dir)
    assert "admin" not in run_json(data_dir, "create-key", owner)["scopes"]
    assert run_json(data_dir, "create-key", owner, "--scope", "admin")["scopes"] == ["admin"]


def test_for_people(data_dir: Path) -> None:
    """Tables, and what to do with a new key."""
    assert "There are no API keys." in run(data_dir, "list-keys").stdout
    owner = account(data_dir)
    assert "Keep the key now" in run(data_dir, "create-key", owner, "--name", "ci").stdout
    shown = run(data_dir, "list-keys", "Alice").stdout
    assert "jobs grants ledger account" in shown
    assert "ci" in shown


def test_many_keys(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are listed, however long a page is."""
    monkeypatch.setattr("gpunode_tracker.key_commands._PAGE_KEYS", 2)
    owner = account(data_dir)
    made = {run_json(data_dir, "create-key", owner)["key"] for _ in range(5)}
    assert {key["key"] for key in run_json(data_dir, "list-keys")["keys"]} == made


@pytest.mark.parametrize(
    "options", [("--scope", "everything"), ("--expires-days", "0"), ("--requests-per-minute", "0")]
)
def test_options_that_cannot_be_used(options: tuple[str, ...], data_dir: Path) -> None:
    """Nothing is made."""
    owner = account(data_dir)
    assert run(data_dir, "create-key", owner, *options).exit_code == 2
    assert run_json(data_dir, "list-keys")["keys"] == []


def test_a_key_that_is_not_there(data_dir: Path) -> None:
    """The error says where ids are listed."""
    for command in ("revoke-key", "rotate-key-of"):
        with pytest.raises(NotFound, match="list-keys"):
            run(data_dir, command, "nothing")
