import os
import select
import signal
from pathlib import Path

import pytest
from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_folders import connect, pid_of, remove_lab
from gpunode_benchmarks.lab.messages import receive_message, send_message

from tests.benchmarks.lab.conftest import HOSTS, StartLab

PATIENCE_S = 30.0


def _pid(lab: Lab) -> int:
    connection = connect(lab.folder)
    assert connection is not None
    with connection:
        return pid_of(connection)


def _wait_ended(pidfd: int) -> None:
    assert select.select([pidfd], [], [], PATIENCE_S)[0]
    os.close(pidfd)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"do": "dance"}, "knows no 'dance'"),
        ({"do": "kill", "host": "oslo-1"}, "oslo-1"),
        ({}, "do"),
        ({"do": "signal", "number": 15}, ""),
    ],
    ids=["unknown", "no such host", "nothing", "no program on this connection"],
)
def test_odd_messages_are_answered(shared_lab: Lab, message: dict[str, object], said: str) -> None:
    """The lab goes on."""
    connection = connect(shared_lab.folder, PATIENCE_S)
    assert connection is not None
    with connection:
        send_message(connection, message)
        received = receive_message(connection)
    assert received is not None
    assert said in received[0].get("error", "")
    assert shared_lab.call("london-1", f"{HOSTS}:add", first=1, second=1) == 2


def test_who_goes_away_before_the_answer_does_no_harm(shared_lab: Lab) -> None:
    """Nothing waits for it."""
    connection = connect(shared_lab.folder)
    assert connection is not None
    send_message(connection, {"do": "traffic"})
    connection.close()
    assert shared_lab.call("london-1", f"{HOSTS}:add", first=1, second=1) == 2


def test_many_programs_run_at_once(lab: Lab) -> None:
    """Each answer goes to whoever started the program."""
    programs = [lab.begin("tokyo-1", f"{HOSTS}:add", first=number, second=0) for number in range(20)]
    assert [program.value(PATIENCE_S) for program in programs] == list(range(20))
    for program in programs:
        program.close()


def test_the_lab_ends_with_its_forwarder(start_lab: StartLab) -> None:
    """Without it the hosts would be silent, and a bench would wait."""
    lab = start_lab("unforwarded")
    pid = _pid(lab)
    [forwarder] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    ended = os.pidfd_open(pid)
    os.kill(forwarder, signal.SIGKILL)
    _wait_ended(ended)
    with pytest.raises(LabFailed, match="has ended"):
        lab.traffic()
    assert "forwarder has ended" in (lab.folder / "lab.log").read_text()


def test_sigterm_ends_the_lab(start_lab: StartLab) -> None:
    """As at a machine's shutdown; what is left is a folder."""
    lab = start_lab("terminated")
    pid = _pid(lab)
    ended = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    _wait_ended(ended)
    assert not remove_lab(lab.folder)
    assert not lab.folder.exists()
