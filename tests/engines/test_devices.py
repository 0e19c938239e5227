import sys
from types import ModuleType

import pytest
from gpunode_engines.devices import Gpu, NvmlProbe, detect_machine


class TwoCards:
    """A probe that finds two cards."""

    def gpus(self) -> tuple[Gpu, ...]:
        """Return both."""
        return tuple(Gpu(name=name, memory_bytes=24 << 30, free_memory_bytes=20 << 30) for name in ("A", "B"))


def test_the_machine_has_cores_and_memory() -> None:
    """Counts are positive and consistent."""
    machine = detect_machine()
    assert 1 <= machine.physical_cores <= machine.logical_cores
    assert 0 < machine.available_memory_bytes <= machine.memory_bytes


def test_cards_come_from_the_probe() -> None:
    """Another probe can take NVML's place."""
    assert [gpu.name for gpu in detect_machine(TwoCards()).gpus] == ["A", "B"]


def _fake_nvml(*, driver: bool) -> ModuleType:
    """Return a module that behaves as NVML with one card, or without a driver."""
    module = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def init() -> None:
        if not driver:
            raise NVMLError("Driver Not Loaded")

    memory = type("Memory", (), {"total": 24 << 30, "free": 23 << 30})
    module.NVMLError = NVMLError  # type: ignore[attr-defined]  # -- a module made up here
    module.nvmlInit = init  # type: ignore[attr-defined]  # -- a module made up here
    module.nvmlShutdown = lambda: None  # type: ignore[attr-defined]  # -- a module made up here
    module.nvmlDeviceGetCount = lambda: 1  # type: ignore[attr-defined]  # -- a module made up here
    module.nvmlDeviceGetHandleByIndex = lambda index: index  # type: ignore[attr-defined]  # -- a module made up here
    module.nvmlDeviceGetName = lambda _: b"GeForce RTX 4090"  # type: ignore[attr-defined]  # -- a module made up here
    module.nvmlDeviceGetMemoryInfo = lambda _: memory  # type: ignore[attr-defined]  # -- a module made up here
    return module


def test_nvml_reports_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is in bytes; older bindings give the name as bytes."""
    monkeypatch.setitem(sys.modules, "pynvml", _fake_nvml(driver=True))
    assert NvmlProbe().gpus() == (Gpu(name="GeForce RTX 4090", memory_bytes=24 << 30, free_memory_bytes=23 << 30),)


def test_no_driver_means_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU is normal."""
    monkeypatch.setitem(sys.modules, "pynvml", _fake_nvml(driver=False))
    assert NvmlProbe().gpus() == ()


def test_no_package_means_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML's bindings are optional."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert NvmlProbe().gpus() == ()
