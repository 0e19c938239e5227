"""The parent's end of a bare library's process; what real ones do is tested with each."""

from pathlib import Path

import pytest
from gpunode_benchmarks import bare_child as module
from gpunode_benchmarks.bare_child import bare_child
from gpunode_benchmarks.errors import BenchmarkFailed

_PROGRAM = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"elapsed_s": json.loads(line)["s"] * json.loads(sys.argv[1])["factor"]}), flush=True)
    if json.loads(line)["s"] == 0:
        sys.exit("ValueError: nothing to do")
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that answers each order."""
    (tmp_path / "answering_child.py").write_text(_PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "answering_child"


async def test_orders_are_answered_in_turn(program: str) -> None:
    """The load is the child's first argument."""
    async with bare_child(program, {"factor": 2}) as child:
        assert [await child.run({"s": 1}), await child.run({"s": 3})] == [2.0, 6.0]


async def test_a_child_that_ends_is_a_failure_with_its_last_words(program: str) -> None:
    """The user sees the cause."""
    async with bare_child(program, {"factor": 1}) as child:
        await child.run({"s": 0})
        with pytest.raises(BenchmarkFailed, match="status 1: ValueError: nothing to do"):
            await child.run({"s": 1})


async def test_a_child_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left."""
    monkeypatch.setattr(module, "_ANSWER_TIMEOUT_S", 30.0)
    with pytest.raises(BenchmarkFailed, match="No module named no_such_module"):
        async with bare_child("no_such_module", {}):
            pytest.fail("There is nothing to run.")
