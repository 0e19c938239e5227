"""Limits as settings."""

from pathlib import Path

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.limits import DEFAULT_RATES, Budget, Limits


def test_every_budget_has_a_rate() -> None:
    """None is forgotten."""
    assert set(Limits().rates) == set(DEFAULT_RATES) == set(Budget)


def test_what_is_not_named_keeps_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file and in the environment, single rates and single limits can be changed."""
    file = tmp_path / "my.toml"
    file.write_text(
        "[tracker.limits]\nconnections = 7\n[tracker.limits.rates]\nsubmits = {per_minute = 5, burst = 2}\n"
    )
    monkeypatch.setenv("GPUNODE_CONFIG", str(file))
    limits = TrackerSettings.load({}).limits
    assert (limits.connections, limits.requests_per_address) == (7, Limits().requests_per_address)
    assert (limits.rates[Budget.SUBMITS].per_minute, limits.rates[Budget.SUBMITS].burst) == (5, 2)
    assert limits.rates[Budget.ADDRESS] == DEFAULT_RATES[Budget.ADDRESS]
    monkeypatch.setenv("GPUNODE_TRACKER_LIMITS", '{"connections": 9}')
    limits = TrackerSettings.load({}).limits
    assert (limits.connections, limits.rates[Budget.SUBMITS].per_minute) == (9, 5)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"rates": {"nothing": {"per_minute": 1, "burst": 1}}}', "nothing"),
        ('{"rates": {"submits": {"per_minute": 0, "burst": 1}}}', "per_minute"),
        ('{"rates": {"submits": {"per_minute": 1}}}', "burst"),
        ('{"rates": {"settlement_items": {"per_minute": 1, "burst": 999}}}', "settlement_items"),
        ('{"conections": 1}', "conections"),
        ('{"body_bytes": 1}', "body_bytes"),
    ],
)
def test_wrong_limits_are_named(text: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the setting."""
    monkeypatch.setenv("GPUNODE_TRACKER_LIMITS", text)
    with pytest.raises(InvalidSettings, match=named):
        TrackerSettings.load({})
