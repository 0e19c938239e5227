from gpunode_benchmarks.lab.lab import Lab

from tests.benchmarks.lab.conftest import HOSTS, SMALL_WORLD, start_or_skip

PATIENCE_S = 30.0


def test_the_lab_is_the_first_process_of_its_own_world(lab: Lab) -> None:
    """So the kernel kills everything with it; programs see their own processes and no others."""
    code = "import os; print(os.getppid(), sorted(name for name in os.listdir('/proc') if name.isdecimal())[:1])"
    with lab.launch("london-1", ["python3", "-c", code]) as program:
        assert program.wait(PATIENCE_S) == 0
        assert program.log.read_text().split(" ", 1) == ["1", "['1']\n"]


def test_two_labs_of_one_world_do_not_meet() -> None:
    """The same addresses twice: each internet is its own."""
    with start_or_skip("twins", SMALL_WORLD) as first, start_or_skip("twins", SMALL_WORLD) as second:
        networks = {lab.call("london-1", f"{HOSTS}:surroundings")["network"] for lab in (first, second)}
        assert len(networks) == 2
        assert first.folder != second.folder
