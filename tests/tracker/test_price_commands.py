"""The command on prices."""

import json
from pathlib import Path

from gpunode_protocol.prices import DEFAULT_PRICES, PriceTable

from tests.tracker.operator_commands import run, run_json


def test_new_prices(data_dir: Path, tmp_path: Path) -> None:
    """The file's, as the next version; shown from then on."""
    assert PriceTable.from_map(run_json(data_dir, "prices")) == DEFAULT_PRICES
    price = {"input_microcredits": 7, "output_microcredits": 9}
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"tasks": dict.fromkeys(DEFAULT_PRICES.tasks, price), "models": {"qwen2.5-7b": price}}))
    published = run_json(data_dir, "prices", "--set", str(file))
    assert (published["version"], published["models"]) == (2, {"qwen2.5-7b": price})
    assert run_json(data_dir, "prices") == published
    (entry,) = run_json(data_dir, "audit", "--action", "prices_published")["entries"]
    assert (entry["actor"], entry["detail"]["version"]) == ("operator", 2)


def test_for_people(data_dir: Path) -> None:
    """One line for each task and model."""
    shown = run(data_dir, "prices").stdout
    assert "Version 1" in shown
    assert all(task in shown for task in DEFAULT_PRICES.tasks)
