from pathlib import Path

import pytest
from gpunode_benchmarks.tracker import tracker_process
from gpunode_benchmarks.tracker.tracker_process import RAISED, bench_settings, main, settings_order
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.limits import Budget


def test_only_rates_place_and_mesh_differ_from_the_shipped_settings(tmp_path: Path) -> None:
    """Everything else is as operators have it."""
    changed = bench_settings(tmp_path)
    shipped = TrackerSettings.load({"data_dir": tmp_path, "listen": "127.0.0.1:0", "mesh": False})
    assert changed.limits.rates == dict.fromkeys(Budget, RAISED)
    limits = changed.limits.model_copy(update={"rates": shipped.limits.rates})
    assert changed.model_copy(update={"limits": limits}) == shipped


def test_the_process_runs_with_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come as JSON."""
    ran: list[TrackerSettings] = []
    monkeypatch.setattr(tracker_process, "run", ran.append)
    main(settings_order(tmp_path))
    assert ran == [bench_settings(tmp_path)]
