"""The tracker's own process, with settings that its command line does not have: ``python -m … SETTINGS``, as JSON."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.daemon import run
from gpunode_tracker.limits import Budget
from gpunode_tracker.rates import Rate

RAISED: Final = Rate(per_minute=10_000_000, burst=1_000_000)
"""The largest rate that there is: one client of the bench stands for ten thousand."""


def bench_settings(data_dir: Path) -> TrackerSettings:
    """Return the shipped settings, but for rates that let one address send everything, a free port, and no mesh."""
    return TrackerSettings.load(settings_order(data_dir))


def settings_order(data_dir: Path) -> dict[str, Any]:
    """Return the same as JSON values."""
    rates = {str(budget): asdict(RAISED) for budget in Budget}
    return {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "mesh": False, "limits": {"rates": rates}}


def main(order: Mapping[str, Any]) -> None:
    """Run until a signal."""
    run(TrackerSettings.load(order))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
