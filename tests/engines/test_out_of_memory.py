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
    OutOfMemory,
)
from gpunode_engines.out_of_memory import is_out_of_memory, kernel_memory_kills, ran_out

KILLED = EngineCrashed("The engine's process ended unexpectedly (signal SIGKILL); the job can be sent again.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryLimit(),
        OutOfMemory("The GPU's memory did not suffice; ask for a smaller picture."),
        EngineStartFailed("CUDA failed with error out of memory"),
        EngineStartFailed("The engine ended while it loaded m (signal SIGABRT): std::bad_alloc."),
    ],
)
def test_libraries_and_the_watchdog_say_it(error: EngineError) -> None:
    """By the class of the error or by words."""
    assert is_out_of_memory(error, 0, 0)


@pytest.mark.parametrize(
    "error", [EngineCrashed("exit code 3"), InvalidParameters("out of memory"), BackendFailed("out of memory")]
)
def test_other_failures_are_not_it(error: EngineError) -> None:
    """A request that was refused never is; other errors may quote an answer, so their words do not count."""
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


def test_a_library_has_no_memory() -> None:
    """Python, torch and CTranslate2 each in their own way; the cause of an error counts as well."""
    torch = pytest.importorskip("torch", reason="torch comes with an extra")
    with pytest.raises(RuntimeError) as too_large:
        torch.empty(2**50)
    assert ran_out(too_large.value)
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory."))
    assert ran_out(RuntimeError("CUDA failed with error out of memory"))
    with pytest.raises(MemoryError) as no_room:
        bytes(2**62)
    wrapped = KeyError("x")
    wrapped.__cause__ = no_room.value
    assert ran_out(wrapped)


def test_quoted_words_are_no_sign() -> None:
    """A prompt can have any words."""
    assert not ran_out(ValueError("no token for 'out of memory'"))
    assert not ran_out(RuntimeError("shapes differ"))
