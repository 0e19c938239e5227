"""The parent's end of a bare library's processes; what real ones do is tested with each."""

from pathlib import Path

import pytest
from gpunode_benchmarks.engines.bare_child import bare_children
from gpunode_benchmarks.errors import BenchmarkFailed

_PROGRAM = """
import sys
from gpunode_benchmarks.engines.bare.service import serve

def load(order):
    return order["factor"]

def run(factor, order):
    if order["s"] == 0:
        sys.exit("ValueError: nothing to do")
    return order["s"] * factor

serve(load, run)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that answers each order."""
    (tmp_path / "answering_child.py").write_text(_PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "answering_child"


async def test_orders_are_answered_in_turn(program: str) -> None:
    """The load is given to all processes."""
    async with bare_children(program, {"factor": 2}, 2) as (first, second):
        assert [await first.run({"s": 1}), await second.run({"s": 2}), await first.run({"s": 3})] == [2.0, 4.0, 6.0]


async def test_a_child_that_ends_is_a_failure_with_its_last_words(program: str) -> None:
    """The user sees the cause, and the other one goes on."""
    async with bare_children(program, {"factor": 1}, 2) as (first, second):
        with pytest.raises(BenchmarkFailed, match="ended: ValueError: nothing to do"):
            await second.run({"s": 0})
        assert await first.run({"s": 1}) == 1.0


async def test_a_child_that_does_not_start() -> None:
    """No process is left."""
    with pytest.raises(BenchmarkFailed, match="No module named no_such_module"):
        async with bare_children("no_such_module", {}, 1):
            pytest.fail("There is nothing to run.")
