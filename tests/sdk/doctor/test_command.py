import json
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

import pytest
from gpunode.cli import main
from gpunode.doctor import command
from gpunode.doctor.command import contributed_checks
from gpunode_protocol.diagnosis import CHECKS_GROUP, Check, Finding, Subject, ok, warning


class _Entry:
    """An entry point of the tests."""

    def __init__(self, name: str, contribute: Any) -> None:
        self.name, self.module, self._contribute = name, f"{name}_checks", contribute

    def load(self) -> Any:
        """Return the function, or fail as an import would."""
        if isinstance(self._contribute, Exception):
            raise self._contribute
        return self._contribute


def _contribute(monkeypatch: pytest.MonkeyPatch, **components: Any) -> None:
    entries = [_Entry(name, contribute) for name, contribute in components.items()]
    monkeypatch.setattr(command, "entry_points", lambda group: entries if group == CHECKS_GROUP else [])


def _one(finding: Finding) -> Any:
    def contribute(_: Subject) -> Sequence[Check]:
        return (Check(name="thing", run=lambda: finding),)

    return contribute


def test_every_component_contributes() -> None:
    """The installed distribution names them; their checks come in a fixed order and have different names."""
    assert {entry.name for entry in entry_points(group=CHECKS_GROUP)} == {"sdk", "node", "engines"}
    names = [check.name for check in contributed_checks(Subject())]
    assert names == list(dict.fromkeys(names))
    assert names[:2] == ["clock", "tracker"]
    assert names.index("node") < names.index("gpu")


def test_the_exit_code_and_strict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """0 with warnings, 1 when they count as failures."""
    _contribute(monkeypatch, sdk=_one(warning("Slow.", "Wait.")))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 warning"
    assert main(["doctor", "--strict", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["doctor", "--no-such-option"]) == 2


def test_the_options_reach_the_checks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All components examine the same tracker, the one that is named."""
    seen: list[Subject] = []

    def contribute(subject: Subject) -> Sequence[Check]:
        seen.append(subject)
        return ()

    _contribute(monkeypatch, sdk=contribute, other=contribute)
    monkeypatch.setenv("GPUNODE_TRACKER", "https://of-the-settings.example")
    assert main(["doctor", "--tracker", "https://named.example", "--data-dir", "n"]) == 0
    assert main(["doctor"]) == 0
    capsys.readouterr()
    assert [subject.tracker for subject in seen] == ["https://named.example"] * 2 + [
        "https://of-the-settings.example"
    ] * 2
    assert (str(seen[0].data_dir), seen[0].insecure) == ("n", None)


def test_a_component_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its package it has no checks; without a package that it needs, it says so."""
    absent = ModuleNotFoundError("No module named 'other_checks'", name="other_checks")
    crippled = ModuleNotFoundError("No module named 'psutil'", name="psutil")
    _contribute(monkeypatch, sdk=_one(ok("Fine.")), other=absent, node=crippled)
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["checks"]
    assert [(check["name"], check["status"]) for check in told] == [("thing", "ok"), ("node", "skipped")]
    assert told[1]["fix"] == "pip install 'gpunode[node]'"
