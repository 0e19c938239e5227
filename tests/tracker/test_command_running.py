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


def test_what_is_longer_than_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on in the next one: half a digest is none. The hint is for copying, so it has no breaks of its own."""
    monkeypatch.setenv("COLUMNS", "40")
    show({"sha256": "0123456789abcdef" * 4}, False, "Backup", hint="{sha256}")
    *table, hint = capsys.readouterr().out.splitlines()
    parts = [line.strip("│").split("│")[1].strip() for line in table if "│" in line]
    assert "".join(parts) == hint == "0123456789abcdef" * 4


def test_instants_of_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """In words, as in lists."""
    show({"created_at": 1_750_000_000, "until": None}, False, "Ban")
    assert "2025-06-15 15:06 UTC" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["reason", "detail"])
def test_sentences_keep_room(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    """What may give way does before a sentence has a word a line, or no room at all."""
    monkeypatch.setenv("COLUMNS", "70")
    item = {"kind": "account", "subject": "a" * 17, column: "it sends spam all day", "created_at": 0, "until": 0}
    show_list("bans", [item], False, none="", given_up=("created_at", "until"))
    assert "it sends spam all day" in capsys.readouterr().out
