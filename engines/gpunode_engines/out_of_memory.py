"""Whether an engine failed because memory ran out: in its own process by the library's error, in the parent by ours."""

from pathlib import Path
from typing import Final

from gpunode_engines.errors import EngineCrashed, EngineError, EngineStartFailed, MemoryLimit, OutOfMemory

VMSTAT: Final = Path("/proc/vmstat")
_KERNEL_KILLS: Final = "oom_kill "

_NAME: Final = "OutOfMemoryError"
"""Of torch's class, for any device."""
_SPOKEN: Final = (
    _NAME,
    "MemoryError",
    "out of memory",  # CUDA's, CTranslate2's and llama.cpp's own words
    "bad_alloc",
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "failed to allocate",
    "can't allocate memory",  # torch on CPUs
)
"""How libraries tell it."""
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


def speaks_of_memory(text: str) -> bool:
    """Whether a library's own words mean that memory ran out."""
    return any(words in text for words in _SPOKEN)


def ran_out(error: BaseException) -> bool:
    """Whether an error of a library, or what it came from, means that memory ran out.

    Words count in a bare RuntimeError only, which is how native code tells of its failures: other errors may quote a
    prompt.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError) or any(kind.__name__ == _NAME for kind in type(found).__mro__):
            return True
        if type(found) is RuntimeError and speaks_of_memory(str(found)):
            return True
        found = found.__cause__
    return False


def is_out_of_memory(error: EngineError, kills_before: int | None, kills_now: int | None) -> bool:
    """Whether an error of an engine means that memory ran out.

    Args:
        error: how the job or the start failed.
        kills_before, kills_now: ``kernel_memory_kills`` when the engine was loaded and now. A process that somebody
            else killed is no such case; where the kernel does not count, every kill is taken for one.
    """
    if isinstance(error, MemoryLimit | OutOfMemory):
        return True
    if not isinstance(error, EngineCrashed | EngineStartFailed):
        return False
    text = str(error)
    if speaks_of_memory(text):
        return True
    return _KILLED in text and (kills_before is None or kills_now is None or kills_now > kills_before)
