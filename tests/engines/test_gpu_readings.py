"""Readings of cards, from a scripted card."""

import sys

import pytest
from gpunode_engines.gpu_readings import GpuProcess, NvmlMeter

from tests.engines.scripted_nvml import play

GAME = "scripted_game"
GIB = 1024**3


def test_a_card_tells_load_power_and_who_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that compute and that draw, each once, with their memory and their share of the time."""
    play(monkeypatch, GAME)
    (reading,) = NvmlMeter().read()
    assert (reading.name, reading.busy_percent, reading.power_watts) == ("GeForce RTX 4090", 96, 310.0)
    assert reading.temperature_c == 61
    assert reading.processes == (
        GpuProcess(pid=900, memory_bytes=300 * 1024**2, busy_percent=2),
        GpuProcess(pid=4242, memory_bytes=5 * GIB, busy_percent=94),
    )


def test_what_a_card_cannot_tell_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laptops have no power sensor, and some drivers hide what each process does."""
    play(monkeypatch, GAME, "nvmlDeviceGetPowerUsage", "nvmlDeviceGetProcessUtilization", "nvmlDeviceGetTemperature")
    (reading,) = NvmlMeter().read()
    assert (reading.power_watts, reading.temperature_c) == (None, None)
    assert [process.busy_percent for process in reading.processes] == [None, None]


def test_the_power_limit_is_set_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be higher than the card's own maximum; what was there before comes back once."""
    card, meter = play(monkeypatch, GAME), NvmlMeter()
    assert meter.limit_power(250) == ""
    assert card.limits == [250_000]
    meter.restore_power()
    meter.restore_power()
    assert card.limits == [250_000, 420_000]
    assert meter.limit_power(9_000) == ""
    assert card.limits[-1] == 450_000


def test_a_limit_that_is_not_possible_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too low for the card, not permitted, or no card at all."""
    card = play(monkeypatch, GAME)
    assert "below 100 W" in NvmlMeter().limit_power(50)
    assert card.limits == []
    play(monkeypatch, GAME, "nvmlDeviceSetPowerManagementLimit")
    assert "Not Supported" in NvmlMeter().limit_power(250)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "no card" in NvmlMeter().limit_power(250)
    assert NvmlMeter().read() == ()
