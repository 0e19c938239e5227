"""Commands on bans."""

from pathlib import Path

import pytest
from gpunode_tracker.errors import InvalidRequest, NotFound

from tests.tracker.operator_commands import account, run, run_json


def test_from_ban_to_unban(data_dir: Path) -> None:
    """An account by its name, a network as it is; both are listed until they are lifted."""
    owner = account(data_dir)
    banned = run_json(data_dir, "ban", "account", "Alice", "--reason", "spam", "--hours", "2")
    assert banned["subject"] == owner
    assert banned["until"] - banned["created_at"] == pytest.approx(2 * 3600, abs=60)
    run_json(data_dir, "ban", "address", "192.0.2.0/24", "--reason", "floods")
    listed = run_json(data_dir, "bans")["bans"]
    assert [(ban["kind"], ban["subject"], ban["reason"]) for ban in listed] == [
        ("account", owner, "spam"),
        ("address", "192.0.2.0/24", "floods"),
    ]
    assert run_json(data_dir, "unban", "account", "Alice") == {"kind": "account", "subject": owner}
    run_json(data_dir, "unban", "address", "192.0.2.0/24")
    assert run_json(data_dir, "bans")["bans"] == []
    with pytest.raises(NotFound, match="no ban"):
        run(data_dir, "unban", "address", "192.0.2.0/24")


def test_many_bans(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are listed, however long a page is."""
    monkeypatch.setattr("gpunode_tracker.ban_commands._PAGE_BANS", 2)
    subjects = [f"192.0.2.{number}" for number in range(1, 6)]
    for subject in subjects:
        run_json(data_dir, "ban", "address", subject, "--reason", "x")
    assert [ban["subject"] for ban in run_json(data_dir, "bans")["bans"]] == subjects


def test_for_people(data_dir: Path) -> None:
    """Whether anybody is shut out, and why."""
    assert "Nobody is shut out." in run(data_dir, "bans").stdout
    run(data_dir, "ban", "address", "192.0.2.1", "--reason", "it floods")
    assert "it floods" in run(data_dir, "bans").stdout


def test_what_cannot_be_banned(data_dir: Path) -> None:
    """No such kind, no reason, no address."""
    assert run(data_dir, "ban", "country", "x", "--reason", "x").exit_code == 2
    assert run(data_dir, "ban", "address", "192.0.2.1").exit_code == 2
    with pytest.raises(InvalidRequest, match="without host bits"):
        run(data_dir, "ban", "address", "192.0.2.1/24", "--reason", "x")
