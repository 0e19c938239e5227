"""What the operator's commands print."""

import json

import pytest
from gpunode_tracker.command_running import show, show_list

ITEMS = [{"name": "a\x1b[2J", "scopes": ["x", "y"], "at": 1_750_000_000, "until": None, "detail": {"n": 1, "e": ""}}]


def test_lists_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """As they are, under one name; empty ones too."""
    show_list("items", ITEMS, True, none="None.")
    show_list("items", [], True, none="None.")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"items": ITEMS}, {"items": []}]


def test_lists_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Instants and lists in words, nothing for nothing; a name cannot rewrite the screen."""
    monkeypatch.setenv("COLUMNS", "120")
    show_list("items", ITEMS, False, none="None.")
    show_list("items", [], False, none="None.")
    out = capsys.readouterr().out
    assert "2025-06-15 15:06 UTC" in out
    assert "x y" in out
    assert "n=1" in out
    assert "\x1b[2J" not in out
    assert out.endswith("None.\n")


def test_narrow_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of less importance give way, in their order."""
    monkeypatch.setenv("COLUMNS", "50")
    show_list("items", [{"key": "k" * 16, "account": "a" * 17, "created_at": 0}], False, none="", given_up=("account",))
    out = capsys.readouterr().out
    assert "k" * 16 in out
    assert "a" * 17 not in out


def test_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """With the next step for people, without for programs."""
    show({"account": "a1", "scopes": ["x"]}, False, "Account", hint="Next: use {account}")
    show({"account": "a1"}, True, "Account", hint="Next")
    out = capsys.readouterr().out
    assert "Next: use a1" in out
    assert out.splitlines()[-1] == '{"account": "a1"}'
