"""The owner's rules, applied to a scripted card."""

import asyncio
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.gpu_readings import NvmlMeter
from gpunode_engines.memory_plan import Capacity
from gpunode_node import host_care
from gpunode_node.config import NodeSettings
from gpunode_node.host_care import LOOK_INTERVAL_S, HostCare

from tests.engines.scripted_nvml import ScriptedCard, play
from tests.node.virtual_time import virtual_time

GAME = "scripted_game"
ENGINE_PID = 4242


class _Pause:
    """Keeps the reasons."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def set_reason(self, source: str, reason: str) -> None:
        self.reasons[source] = reason


def _care(folder: Path, hour: int = 12, *, jobs: int = 0, **settings: Any) -> tuple[HostCare, _Pause, EnginePool]:
    pause, pool = _Pause(), EnginePool(Capacity(main_bytes=0, card_bytes=0))
    models = [SimpleNamespace(engine=SimpleNamespace(active_jobs=jobs))]
    values = NodeSettings.load({"data_dir": folder} | settings)
    now = datetime(2027, 3, 4, hour).astimezone()
    care = HostCare(values, NvmlMeter(), cast("Any", pause), pool, cast("Any", models), lambda: now)
    return care, pause, pool


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted engine's process is ours."""
    monkeypatch.setattr(host_care, "_own_processes", lambda: frozenset({ENGINE_PID}))


async def _looks(care: HostCare, card: ScriptedCard, pause: _Pause, count: int) -> list[bool]:
    """Look so often, a scripted moment each; return when another program was seen."""
    seen = []
    for _ in range(count):
        await care.look()
        seen.append(bool(pause.reasons["busy"]))
        card.frame += 1
        await asyncio.sleep(LOOK_INTERVAL_S)
    return seen


@pytest.mark.usefixtures("own_engine")
@virtual_time
async def test_a_game_takes_the_card_and_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own jobs do not count; ten seconds of the game do; two minutes without it bring the node back."""
    card = play(monkeypatch, GAME)
    care, pause, _ = _care(tmp_path, jobs=1, pause_when_busy=True)
    assert await _looks(care, card, pause, 3) == [False] * 3
    assert await _looks(care, card, pause, 8) == [False] * 5 + [True] * 3
    assert await _looks(care, card, pause, 62) == [True] * 60 + [False] * 2
    assert care.to_map()[0]["temperature_c"] == 52


@virtual_time
async def test_without_a_rule_no_card_is_asked(tmp_path: Path) -> None:
    """NVML costs milliseconds and wakes cards."""
    care, _, _ = _care(tmp_path)
    await care.start()
    assert (care.readings, care.problems, care.power) == ((), (), "")


@virtual_time
async def test_the_schedule_is_a_reason(tmp_path: Path) -> None:
    """Only outside of it."""
    for hour, reason in ((23, ""), (12, "it is 12:00, the schedule is 22:00-08:00")):
        care, pause, _ = _care(tmp_path, hour, schedule="22:00-08:00")
        await care.start()
        assert pause.reasons["schedule"] == reason


@virtual_time
async def test_the_driver_limits_the_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No job waits then; the old limit comes back at the end."""
    card = play(monkeypatch, GAME)
    care, _, pool = _care(tmp_path, max_power_watts=250)
    await care.start()
    assert (card.limits, pool.open) == ([250_000], True)
    assert "limited to 250 W" in care.power
    await care.close()
    assert card.limits == [250_000, 420_000]


@virtual_time
async def test_where_the_driver_may_not_jobs_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the card draws too much no new job starts; the owner is told how it is done."""
    card = play(monkeypatch, GAME, "nvmlDeviceSetPowerManagementLimit")
    care, _, pool = _care(tmp_path, max_power_watts=250)
    await care.start()
    assert not pool.open
    assert "Not Supported" in care.power
    card.frame = 11
    await asyncio.sleep(60)
    await care.look()
    assert pool.open


@virtual_time
async def test_rules_that_cannot_be_kept_are_a_problem(tmp_path: Path) -> None:
    """This machine has no card."""
    care, _, _ = _care(tmp_path, pause_when_busy=True, max_power_watts=100)
    await care.start()
    assert "do nothing here" in care.problems[0]
