import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from gpunode_benchmarks.resident_memory import resident_of

BALLAST_MIB = 64
_BALLAST = "import sys; held = bytearray(b'x') * (int(sys.argv[1]) << 20); print('.', flush=True); sys.stdin.read()"


@pytest.mark.parametrize("name", ["p2pd", "python"])
def test_p2pd_and_all_other_children_are_counted_apart(tmp_path: Path, name: str) -> None:
    """A child holds 64 MiB: it counts as what its name says, and not as the process's own."""
    program = tmp_path / name
    program.symlink_to(sys.executable)
    before = resident_of(os.getpid())
    command = [str(program), "-I", "-S", "-c", _BALLAST, str(BALLAST_MIB)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        after = resident_of(os.getpid())
        child.kill()
    grown, other = (after.p2pd, after.engines) if name == "p2pd" else (after.engines, after.p2pd)
    unchanged = before.engines if name == "p2pd" else before.p2pd
    assert grown >= BALLAST_MIB
    assert other == pytest.approx(unchanged, abs=BALLAST_MIB / 2)
    assert after.own == pytest.approx(before.own, abs=BALLAST_MIB / 2)


def test_a_process_that_has_ended_has_no_figure() -> None:
    """Nothing is not zero."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as child:
        child.wait()
    with pytest.raises(psutil.NoSuchProcess):
        resident_of(child.pid)
