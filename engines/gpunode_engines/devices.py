"""What this machine has to compute with."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import psutil  # type: ignore[import-untyped]  # -- ships no annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A graphics card. memory_bytes: in all; free_memory_bytes: now."""

    name: str
    memory_bytes: int
    free_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """physical_cores, logical_cores: >= 1. memory_bytes, available_memory_bytes: RAM in all and now."""

    physical_cores: int
    logical_cores: int
    memory_bytes: int
    available_memory_bytes: int
    gpus: tuple[Gpu, ...]


class GpuProbe(Protocol):
    """How graphics cards are found."""

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the cards; none is normal and no error."""
        ...


class NvmlProbe:
    """NVIDIA cards through NVML, the driver's own library."""

    def gpus(self) -> tuple[Gpu, ...]:
        """See ``GpuProbe``. No driver, no library or no package means no cards."""
        with ExitStack() as stack:
            nvml = open_nvml(stack)
            if nvml is None:
                return ()
            try:
                handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
                return tuple(_gpu(handle) for handle in handles)
            except nvml.NVMLError:
                return ()


def open_nvml(stack: ExitStack) -> Any:
    """Return NVML's bindings, which the stack closes again; None without package or driver."""
    try:
        import pynvml  # noqa: PLC0415 -- an optional dependency
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    stack.callback(pynvml.nvmlShutdown)
    return pynvml


def _gpu(handle: object) -> Gpu:
    import pynvml  # noqa: PLC0415 -- an optional dependency

    name = pynvml.nvmlDeviceGetName(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        name=name.decode() if isinstance(name, bytes) else str(name),
        memory_bytes=int(memory.total),
        free_memory_bytes=int(memory.free),
    )


def detect_machine(probe: GpuProbe | None = None) -> Machine:
    """Return what this machine has. probe: NVML if None."""
    memory = psutil.virtual_memory()
    logical = psutil.cpu_count(logical=True) or 1
    return Machine(
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        memory_bytes=int(memory.total),
        available_memory_bytes=int(memory.available),
        gpus=(probe or NvmlProbe()).gpus(),
    )
