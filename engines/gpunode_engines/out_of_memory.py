"""Whether an engine failed because memory ran out."""

from pathlib import Path
from typing import Final

from gpunode_engines.errors import BackendFailed, EngineCrashed, EngineError, EngineStartFailed, MemoryLimit

VMSTAT: Final = Path("/proc/vmstat")
_KERNEL_KILLS: Final = "oom_kill "

_SPOKEN: Final = (
    "OutOfMemoryError",  # torch.OutOfMemoryError, of any device
    "MemoryError",
    "out of memory",  # CUDA's and llama.cpp's own words
    "bad_alloc",
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "failed to allocate",
)
"""How libraries name it. Backends report class names of errors that are not theirs, so names are enough."""
_KILLED: Final = "signal SIGKILL"


def kernel_memory_kills(vmstat: Path = VMSTAT) -> int | None:
    """Return how many processes Linux has ended for want of memory since it started; None where it does not tell."""
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(_KERNEL_KILLS):
            return int(line.removeprefix(_KERNEL_KILLS))
    return None


def is_out_of_memory(error: EngineError, kills_before: int | None, kills_now: int | None) -> bool:
    """Whether an error of an engine means that memory ran out.

    Args:
        error: how the job or the start failed.
        kills_before, kills_now: ``kernel_memory_kills`` when the engine was loaded and now. A process that somebody
            else killed is no such case; where the kernel does not count, every kill is taken for one.
    """
    if isinstance(error, MemoryLimit):
        return True
    if not isinstance(error, BackendFailed | EngineCrashed | EngineStartFailed):
        return False
    text = str(error)
    if any(words in text for words in _SPOKEN):
        return True
    return _KILLED in text and (kills_before is None or kills_now is None or kills_now > kills_before)
