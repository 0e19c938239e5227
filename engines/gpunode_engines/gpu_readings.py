"""What the graphics cards are doing now, and the limit of their power."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gpunode_engines.devices import open_nvml

_MILLIWATTS_PER_WATT: Final = 1000
_UNSET: Final = (1 << 64) - 1
"""NVML's value for "not available" in 64-bit fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process on a card. memory_bytes: of the card. busy_percent: of its time, None where the driver hides it."""

    pid: int
    memory_bytes: int
    busy_percent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One card. busy_percent: 0 to 100. power_watts, temperature_c: None where the card has no such sensor."""

    name: str
    busy_percent: int
    power_watts: float | None
    temperature_c: int | None
    processes: tuple[GpuProcess, ...]


class GpuMeter(Protocol):
    """How cards are watched. Calls may block for some milliseconds."""

    def read(self) -> tuple[GpuReading, ...]:
        """Return all cards; none where there is no card, no driver or no package."""
        ...

    def limit_power(self, watts: int) -> str:
        """Limit the power of each card; return why that is not possible, empty where it was done."""
        ...

    def restore_power(self) -> None:
        """Take back what ``limit_power`` has set."""
        ...


class NvmlMeter:
    """NVIDIA cards."""

    def __init__(self) -> None:
        self._limits_before: dict[int, int] = {}  #: by card, milliwatts

    def read(self) -> tuple[GpuReading, ...]:
        """See ``GpuMeter``."""
        with _cards() as (nvml, handles):
            return tuple(_reading(nvml, handle) for handle in handles)

    def limit_power(self, watts: int) -> str:
        """See ``GpuMeter``."""
        with _cards() as (nvml, handles):
            if not handles:
                return "there is no card that NVML knows"
            try:
                for index, handle in enumerate(handles):
                    least, most = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
                    limit = watts * _MILLIWATTS_PER_WATT
                    if not least <= limit:
                        return f"the card takes no limit below {least // _MILLIWATTS_PER_WATT} W"
                    before = nvml.nvmlDeviceGetPowerManagementLimit(handle)
                    nvml.nvmlDeviceSetPowerManagementLimit(handle, min(limit, most))
                    self._limits_before[index] = before
            except nvml.NVMLError as error:
                _restore(nvml, handles, self._limits_before)
                return f"the driver says: {error}"
        return ""

    def restore_power(self) -> None:
        """See ``GpuMeter``."""
        if self._limits_before:
            with _cards() as (nvml, handles):
                _restore(nvml, handles, self._limits_before)


@contextlib.contextmanager
def _cards() -> Iterator[tuple[Any, list[Any]]]:
    """Open NVML; no cards where it cannot be opened or where it fails later on."""
    with contextlib.ExitStack() as stack:
        nvml = open_nvml(stack)
        handles = []
        if nvml is not None:
            with contextlib.suppress(nvml.NVMLError):
                handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        yield nvml, handles


def _restore(nvml: Any, handles: list[Any], limits: dict[int, int]) -> None:
    for index, milliwatts in limits.items():
        with contextlib.suppress(nvml.NVMLError, IndexError):
            nvml.nvmlDeviceSetPowerManagementLimit(handles[index], milliwatts)
    limits.clear()


def _reading(nvml: Any, handle: Any) -> GpuReading:
    def ask(question: Callable[[], Any], otherwise: Any = None) -> Any:
        """Return an answer, or what stands for a card or driver that has none."""
        try:
            return question()
        except nvml.NVMLError:
            return otherwise

    name = ask(lambda: nvml.nvmlDeviceGetName(handle), "")
    rates = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    milliwatts = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    samples = ask(lambda: nvml.nvmlDeviceGetProcessUtilization(handle, 0))
    busy = None if samples is None else {sample.pid: int(sample.smUtil) for sample in samples}
    listed = [
        *ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle), []),
        *ask(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle), []),
    ]
    memory = {process.pid: _memory_bytes(process.usedGpuMemory) for process in listed}
    return GpuReading(
        name=name.decode() if isinstance(name, bytes) else str(name),
        busy_percent=int(rates.gpu) if rates is not None else 0,
        power_watts=milliwatts / _MILLIWATTS_PER_WATT if milliwatts is not None else None,
        temperature_c=ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        processes=tuple(
            GpuProcess(
                pid=pid, memory_bytes=memory.get(pid, 0), busy_percent=None if busy is None else busy.get(pid, 0)
            )
            for pid in sorted(memory.keys() | (busy or {}).keys())
        ),
    )


def _memory_bytes(value: int | None) -> int:
    return 0 if value is None or value == _UNSET else int(value)
