"""docs/operations.md names commands, options and metrics that there are."""

import re
from pathlib import Path

import pytest
import typer
from gpunode_tracker.commands import commands
from gpunode_tracker.routes import METRICS_PATH

from tests.tracker.conftest import World

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_group(commands).commands
#: Of the shell's lines; a backslash at the end of one continues it.
LINES = re.findall(r"gpunode tracker ([a-z-]+)([^`\n]*)", TEXT.replace("\\\n", " "))
_ELSEWHERE = {"gpunode_tracker_redis_up", "gpunode_tracker_clock_ahead_seconds"}  # see tests/tracker/shared
METRICS = set(re.findall(r"gpunode_tracker_\w+", TEXT))


@pytest.mark.parametrize(("name", "arguments"), LINES)
def test_commands(name: str, arguments: str) -> None:
    """Each exists, with the options that it is given."""
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z0-9-]+", arguments)) - known == set()


def test_it_names_some() -> None:
    """The patterns above find what they look for."""
    assert {name for name, _ in LINES} >= {"start", "backup", "restore", "rotate-sealing-key", "ban", "audit"}
    assert len(METRICS) >= 6


async def test_metrics(world: World) -> None:
    """Each is told."""
    told = (await (await world.get(METRICS_PATH)).text()).splitlines()
    assert {
        metric for metric in METRICS - _ELSEWHERE if not any(line.startswith(f"# TYPE {metric} ") for line in told)
    } == set()
