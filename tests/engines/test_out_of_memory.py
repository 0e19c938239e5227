"""How running out of memory is told from other failures."""

from pathlib import Path

import pytest
from gpunode_engines.errors import (
    BackendFailed,
    EngineCrashed,
    EngineError,
    EngineStartFailed,
    InvalidParameters,
    MemoryLimit,
)
from gpunode_engines.out_of_memory import is_out_of_memory, kernel_memory_kills

KILLED = EngineCrashed("The engine's process ended unexpectedly (signal SIGKILL); the job can be sent again.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryLimit(),
        BackendFailed("The backend failed with OutOfMemoryError; try another node."),
        BackendFailed("CUDA error: out of memory"),
        EngineStartFailed("The engine ended while it loaded m (signal SIGABRT): std::bad_alloc."),
    ],
)
def test_libraries_and_the_watchdog_say_it(error: EngineError) -> None:
    """By the class of the error or by words."""
    assert is_out_of_memory(error, 0, 0)


@pytest.mark.parametrize(
    "error", [EngineCrashed("exit code 3"), InvalidParameters("out of memory"), BackendFailed("ValueError")]
)
def test_other_failures_are_not_it(error: EngineError) -> None:
    """A request that was refused never is."""
    assert not is_out_of_memory(error, 0, 0)


def test_a_kill_counts_where_the_kernel_ran_out() -> None:
    """Somebody else's kill is no sign; without a count there is no other explanation."""
    assert is_out_of_memory(KILLED, 3, 4)
    assert not is_out_of_memory(KILLED, 3, 3)
    assert is_out_of_memory(KILLED, None, None)


def test_the_kernel_counts(tmp_path: Path) -> None:
    """One line of many; a kernel that has none does not tell."""
    vmstat = tmp_path / "vmstat"
    assert kernel_memory_kills(vmstat) is None
    vmstat.write_text("nr_free_pages 7\noom_kill 12\npgfault 3\n")
    assert kernel_memory_kills(vmstat) == 12
    vmstat.write_text("nr_free_pages 7\n")
    assert kernel_memory_kills(vmstat) is None
