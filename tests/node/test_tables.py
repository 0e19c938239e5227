"""Answers as tables; ``test_status`` renders those of a whole node."""

import pytest
from gpunode_node import tables

MODEL = {
    "name": "a-model-with-a-long-name",
    "task": "llm",
    "device": "cpu",
    "active": 1,
    "slots": 4,
    "queued": 0,
    "speed": "0.19 steps/s of 512 x 512",
    "restarts": 0,
    "sandbox": {"level": 2, "lacks": ["Landlock"], "denials": 3},
}


def test_problems_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A node in trouble says what kind of trouble, and 80 columns are enough for it."""
    monkeypatch.setenv("COLUMNS", "80")
    answer = {
        "peer_id": "12D3KooW",
        "network": "abc",
        "region": "asia",
        "country": "",
        "uptime_s": 7.0,
        "draining": True,
        "pause": {"state": "paused", "reasons": ["the owner said so"]},
        "problems": ["The tracker does not answer."],
        "tracker": {"url": "https://t", "problem": "x"},
        "mesh": {"state": "degraded", "peers_known": 0, "reachable": False},
        "addresses": [],
        "models": [MODEL, MODEL | {"name": "stable-diffusion-3.5-medium"}],
        "jobs_unfinished": 2,
        "outbox": {"ready": 1, "held": 2, "unwritten": 3},
    }
    tables.show("status", answer)
    text = capsys.readouterr().out
    assert "…" not in text
    for words in ("a-model-with-a-long-name", "stable-diffusion-3.5-medium", "jobs", "speed", "engine", "steps/s"):
        assert words in text
    assert "no, and no model is in memory: the owner said so" in text
    for words in ("7 s, draining", "(no answer)", "through relays", "does not answer.", "1 ready, 2 held, 3 not"):
        assert words in text


@pytest.mark.parametrize(
    ("state", "reasons", "words"),
    [
        ("serving", ["tea"], "no new jobs; those that run are finished: tea"),
        ("pausing", ["tea"], "no new jobs; those that run are finished: tea"),
        ("paused", ["tea"], "no, and no model is in memory: tea"),
        ("paused", [], "again in a moment"),
        ("pausing", [], "again in a moment"),
        ("serving", [], "yes"),
    ],
)
def test_a_pause_and_its_end(
    state: str, reasons: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the moment when the node has heard of it and has not begun yet: that is no "yes"."""
    monkeypatch.setenv("COLUMNS", "80")
    tables.show("pause", {"state": state, "reasons": reasons})
    assert capsys.readouterr().out.split() == ["serves", *words.split()]
