"""The command on the audit log."""

from pathlib import Path

from tests.tracker.operator_commands import account, run, run_json


def test_every_command_that_changes_something_is_noted(data_dir: Path) -> None:
    """With its subject, newest first; nothing that is secret."""
    owner = account(data_dir)
    run_json(data_dir, "issue", owner, "5", "--memo", "thanks")
    key = run_json(data_dir, "create-key", owner)
    run_json(data_dir, "rotate-key-of", key["key"])
    run_json(data_dir, "revoke-key", key["key"])
    run_json(data_dir, "ban", "account", owner, "--reason", "spam")
    run_json(data_dir, "unban", "account", owner)
    signing = run_json(data_dir, "rotate-key")["kid"]
    entries = run_json(data_dir, "audit")["entries"][::-1]
    assert {(entry["actor"], entry["address"]) for entry in entries} == {("operator", "")}
    assert [(entry["action"], entry["subject"]) for entry in entries] == [
        ("account_created", f"account:{owner}"),
        ("credits_issued", f"account:{owner}"),
        ("key_created", f"key:{key['key']}"),
        ("key_rotated", f"key:{key['key']}"),
        ("key_revoked", f"key:{key['key']}"),
        ("banned", f"account:{owner}"),
        ("ban_lifted", f"account:{owner}"),
        ("signing_key_rotated", f"signing_key:{signing}"),
    ]
    assert key["api_key"] not in run(data_dir, "audit").stdout


def test_filters(data_dir: Path) -> None:
    """By who, what, to what and when; so many at most."""
    owner = account(data_dir)
    account(data_dir, "Bob")
    for options, count in (
        ((), 2),
        (("--limit", "1"), 1),
        (("--subject", f"account:{owner}"), 1),
        (("--action", "account_created", "--actor", "operator"), 2),
        (("--actor", "key:k"), 0),
        (("--hours", "1"), 2),
    ):
        assert len(run_json(data_dir, "audit", *options)["entries"]) == count
    assert "no such entries" in run(data_dir, "audit", "--actor", "key:k").stdout
