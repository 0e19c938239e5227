import os
import signal
import sys
from pathlib import Path

import pytest
from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.lab import Lab

from tests.benchmarks.lab.conftest import HOSTS, StartLab

PATIENCE_S = 30.0


def test_a_call_returns_its_result(lab: Lab) -> None:
    """Of a function, and of a coroutine function."""
    assert lab.call("london-1", f"{HOSTS}:add", first=2, second=3) == 5
    assert lab.call("london-1", f"{HOSTS}:double", number=4) == 8


def test_a_broken_pipe_is_an_exception(lab: Lab) -> None:
    """As in every program of Python; a client whose node is killed meets some."""
    assert lab.call("london-1", f"{HOSTS}:write_into_a_broken_pipe") == "BrokenPipeError"


def test_a_failing_call_raises_with_its_traceback(lab: Lab) -> None:
    """Whoever runs the bench sees where it happened."""
    with pytest.raises(LabFailed, match=r"(?s)on london-1 failed.*on_hosts\.py.*failed on purpose"):
        lab.call("london-1", f"{HOSTS}:fail")


def test_a_killed_call_raises(lab: Lab) -> None:
    """It has no result."""
    with lab.begin("london-1", f"{HOSTS}:wait_for_ever") as program:
        lab.kill("london-1")
        with pytest.raises(LabFailed, match=f"exit code -{signal.SIGKILL:d}"):
            program.value(PATIENCE_S)


def test_a_call_that_takes_too_long_is_killed(lab: Lab) -> None:
    """Nothing of it is left."""
    with pytest.raises(TimeoutError):
        lab.call("london-1", f"{HOSTS}:wait_for_ever", timeout_s=0.01)
    assert lab.call("london-1", f"{HOSTS}:add", first=1, second=1) == 2


def test_a_command_has_no_result(lab: Lab) -> None:
    """Its output is in the log."""
    with lab.launch("london-1", ["true"]) as program, pytest.raises(LabFailed, match="is no call"):
        program.value(PATIENCE_S)


def test_closing_a_program_kills_it(lab: Lab) -> None:
    """With the process group that it leads: its end closes the pipe."""
    reader, writer = os.pipe()
    with Path(os.devnull).open("rb") as nothing:
        program = lab.launch("london-1", ["sh", "-c", "sleep 600"], standard=(nothing.fileno(), writer, writer))
    os.close(writer)
    assert program.exit_code is None
    program.close()
    program.close()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_signals_reach_a_program(lab: Lab) -> None:
    """So that a node can say goodbye; after its end they are ignored."""
    with lab.launch("london-1", ["sleep", "600"]) as program:
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE_S) == -signal.SIGTERM
        program.send_signal(signal.SIGTERM)
        assert program.exit_code == -signal.SIGTERM


def test_waiting_has_an_end(lab: Lab) -> None:
    """The program goes on."""
    with lab.launch("london-1", ["sleep", "600"]) as program:
        with pytest.raises(TimeoutError, match="still runs"):
            program.wait(0)
        assert program.exit_code is None


def test_programs_of_an_ended_lab_say_so(start_lab: StartLab) -> None:
    """Waiting for them does not hang."""
    lab = start_lab("gone")
    with lab.launch("london-1", ["sleep", "600"]) as program:
        lab.end()
        with pytest.raises(LabFailed, match="lab ended"):
            program.wait(PATIENCE_S)


def test_standard_descriptors_can_be_given(lab: Lab, tmp_path: Path) -> None:
    """As the terminal's are, for a command that somebody runs by hand."""
    output = tmp_path / "output"
    with output.open("wb") as written, Path(os.devnull).open("rb") as nothing:
        standard = (nothing.fileno(), written.fileno(), written.fileno())
        with lab.launch("london-1", [sys.executable, "-c", "print('here')"], standard=standard) as program:
            assert program.wait(PATIENCE_S) == 0
            assert program.last_words() == ""
    assert output.read_text() == "here\n"
