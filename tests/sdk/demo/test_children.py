import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from gpunode.demo import children as children_module
from gpunode.demo.children import Children, DemoFailed

#: Stands in for ``python -m gpunode``: the first argument is a program.
_PYTHON = (sys.executable, "-c")
#: Says that it is ready, then waits for a signal.
_WAITING = "import signal, sys; print('ready', flush=True); signal.pause()"
_STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    """Children that are small Python programs, still started by the launcher."""
    command = children_module._command

    def python(module: str, arguments: Sequence[str]) -> list[str]:
        launcher = command(module, [])[: -len(("python", "-m", module))]
        return [*launcher, *_PYTHON, *arguments]

    monkeypatch.setattr(children_module, "_command", python)
    with Children(tmp_path) as started:
        yield started


def _wait_ready(child: children_module.Child, programs: int = 1) -> None:
    """Wait until a child, and what it started, have said so."""
    while child.last_words().count("ready") < programs:
        assert not child.has_ended


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_program_runs_to_its_end(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output comes back; the user's settings do not reach it, and it writes nothing to the user's folders."""
    monkeypatch.setenv("GPUNODE_TRACKER", "https://elsewhere")
    script = "import os; print({n: v for n, v in os.environ.items() if n.startswith('GPUNODE_')}, os.getcwd())"
    own = {"GPUNODE_CACHE_DIR": str(children._folder / "cache")}
    assert children.run("env", [script]) == f"{own} {children._folder}\n"


def test_a_program_that_fails_is_quoted(children: Children) -> None:
    """Exit code and last words."""
    with pytest.raises(DemoFailed, match="no such model") as caught:
        children.run("node", ["import sys; print('no such model'); sys.exit(3)"])
    assert "exit code 3" in str(caught.value)


def test_a_child_that_dies_is_noticed(children: Children) -> None:
    """While the demo waits for others."""
    child = children.start("node0", [_WAITING])
    _wait_ready(child)
    children.check()
    child.process.kill()
    child.process.wait()
    with pytest.raises(DemoFailed, match="node0"):
        children.check()


def test_all_are_ended(children: Children) -> None:
    """By SIGTERM, twice if need be; nothing is left, and it may be done again."""
    started = [children.start(f"node{number}", [_WAITING]) for number in range(3)]
    for child in started:
        _wait_ready(child)
    children.stop()
    assert [child.process.returncode for child in started] == [-signal.SIGTERM] * 3
    children.stop()


def test_a_stubborn_one_is_killed_with_what_it_started(
    children: Children, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole process group goes."""
    monkeypatch.setattr(children_module, "STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr(children_module, "PATIENCE_S", 0.05)
    program = f"""
import subprocess, sys
inner = subprocess.Popen([sys.executable, "-c", {_STUBBORN!r}])
open({str(tmp_path / "pid")!r}, "w").write(str(inner.pid))
{_STUBBORN}
"""
    child = children.start("node0", [program])
    _wait_ready(child, programs=2)
    inner = int((tmp_path / "pid").read_text(encoding="utf-8"))
    children.stop()
    assert child.process.returncode == -signal.SIGKILL
    while _is_alive(inner) and not _is_zombie(inner):
        pass  # the kernel takes a moment; the test's time limit is the deadline


def test_a_session_of_its_own_is_ended_too(children: Children, tmp_path: Path) -> None:
    """As p2pd's and the engines': what outlives its parent for a moment would write into a folder being removed."""
    program = f"""
import subprocess, sys
inner = subprocess.Popen([sys.executable, "-c", {_WAITING!r}], start_new_session=True)
open({str(tmp_path / "pid")!r}, "w").write(str(inner.pid))
{_WAITING}
"""
    child = children.start("node0", [program])
    _wait_ready(child, programs=2)
    inner = int((tmp_path / "pid").read_text(encoding="utf-8"))
    children.stop()
    assert not _is_alive(inner) or _is_zombie(inner)


def test_one_is_killed_with_its_family_and_starts_again(children: Children, tmp_path: Path) -> None:
    """Also what leads a session of its own; the others do not notice, and the same arguments are used again."""
    program = f"""
import subprocess, sys
inner = subprocess.Popen([sys.executable, "-c", {_WAITING!r}], start_new_session=True)
open({str(tmp_path / "pid")!r}, "w").write(str(inner.pid))
{_WAITING}
"""
    other = children.start("node0", [_WAITING])
    child = children.start("node1", [program])
    _wait_ready(child, programs=2)
    inner = int((tmp_path / "pid").read_text(encoding="utf-8"))
    children.kill(children.named("node1"))
    assert child.process.returncode == -signal.SIGKILL
    while _is_alive(inner) and not _is_zombie(inner):
        pass  # the kernel takes a moment; the test's time limit is the deadline
    children.check()
    with pytest.raises(LookupError, match="node1"):
        children.named("node1")
    again = children.start_again(child)
    _wait_ready(again, programs=2)
    assert children.named("node1") is again
    assert not other.has_ended


def _is_zombie(pid: int) -> bool:
    """Whether a killed process only waits for its new parent to read its exit code."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_wait_until_the_cleaning_up_is_done(children: Children, number: signal.Signals) -> None:
    """A second Ctrl-C, or a terminal that closes, must not leave processes behind; afterwards they work again."""
    before = signal.getsignal(number)
    with children_module._signals_ignored():
        os.kill(os.getpid(), number)
        children.stop()
    assert signal.getsignal(number) is before
