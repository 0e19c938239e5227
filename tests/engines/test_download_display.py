"""Bars for people, lines for logs."""

import io
import logging
import sys

import pytest
from gpunode_engines.download_display import LoggedDownloads, choose_display
from rich.progress import Progress


def test_a_line_for_every_tenth(caplog: pytest.LogCaptureFixture) -> None:
    """Each tenth once, with the file's name; a step over several is one line."""
    caplog.set_level(logging.INFO)
    display = LoggedDownloads()
    task = display.add_task("a.gguf", total=None)
    for completed in (0, 50, 99, 100, 150, 370, 399, 1000, 1000):
        display.update(task, completed=completed, total=1000)
    assert caplog.messages == [f"downloading a.gguf: {percent} %" for percent in (10, 30, 100)]
    assert [(record.event, record.percent) for record in caplog.records] == [  # type: ignore[attr-defined]  # -- extra
        ("download_progress", 10),
        ("download_progress", 30),
        ("download_progress", 100),
    ]


def test_an_unknown_size_is_no_share(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said before the size is known."""
    caplog.set_level(logging.INFO)
    display = LoggedDownloads()
    display.update(display.add_task("a.gguf", total=None), completed=10, total=None)
    assert caplog.messages == []


@pytest.mark.parametrize(("terminal", "kind"), [(True, Progress), (False, LoggedDownloads)])
def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type) -> None:
    """What standard error is decides."""
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    with choose_display() as display:
        assert isinstance(display, kind)
        display.update(display.add_task("a.gguf", total=10), completed=10, total=10)
    assert ("a.gguf" in stderr.getvalue()) is terminal
