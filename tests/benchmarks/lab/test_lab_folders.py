import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gpunode_benchmarks.lab import lab_folders
from gpunode_benchmarks.lab.errors import WorldInvalid
from gpunode_benchmarks.lab.host_processes import processes_in
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_folders import connect, folders_of, named_folder, passing_folder, pid_of, remove_lab

from tests.benchmarks.lab.conftest import HOSTS, SMALL_WORLD, StartLab, start_or_skip

PATIENCE_S = 30.0

#: Starts a lab with a program on a host, says where, and waits.
USER = """
import sys
from pathlib import Path
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.world import World

lab = Lab.start("orphan", World.model_validate_json(sys.argv[1]))
program = lab.launch("london-1", ["setsid", "sleep", "600"])
network = lab.call("london-1", "tests.benchmarks.lab.on_hosts:surroundings")["network"]
print(lab.folder, network, flush=True)
sys.stdin.read()
"""


def _processes(network: int) -> set[int]:
    return processes_in(network)


def _lab_ended(folder: Path) -> int:
    """Return a descriptor that becomes readable when a lab's process ends."""
    connection = connect(folder)
    assert connection is not None
    with connection:
        return os.pidfd_open(pid_of(connection))


def _wait(descriptor: int) -> None:
    assert select.select([descriptor], [], [], PATIENCE_S)[0]
    os.close(descriptor)


def test_a_killed_user_takes_its_lab_along() -> None:
    """Kill -9 of the bench: processes end by themselves, and the folder is found and removed later."""
    start_or_skip("possible", SMALL_WORLD).end()
    user = subprocess.Popen(
        [sys.executable, "-c", USER, SMALL_WORLD.model_dump_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert user.stdout is not None
    folder_text, network = user.stdout.readline().split()
    folder = Path(folder_text.decode())
    assert _processes(int(network))
    ended = _lab_ended(folder)
    user.kill()
    user.communicate()
    _wait(ended)
    assert _processes(int(network)) == set()
    assert folder in folders_of("orphan")
    assert not remove_lab(folder)
    assert folders_of("orphan") == []


def test_a_killed_lab_leaves_a_folder_and_nothing_else(start_lab: StartLab) -> None:
    """Kill -9 of the lab itself."""
    lab = start_lab("killed")
    with lab.launch("london-1", ["setsid", "--fork", "sleep", "600"]) as program:
        assert program.wait(PATIENCE_S) == 0
        network = lab.call("london-1", f"{HOSTS}:surroundings")["network"]
        assert len(_processes(network)) == 1
        ended = _lab_ended(lab.folder)
        signal.pidfd_send_signal(ended, signal.SIGKILL)
        _wait(ended)
    assert _processes(network) == set()
    assert not remove_lab(lab.folder)
    assert folders_of("killed") == []


def test_a_living_lab_is_ended_and_removed(start_lab: StartLab) -> None:
    """Also when its process is stopped and answers nothing."""
    lab = start_lab("stopped")
    ended = _lab_ended(lab.folder)
    signal.pidfd_send_signal(ended, signal.SIGSTOP)
    assert remove_lab(lab.folder)
    _wait(ended)
    assert folders_of("stopped") == []


def test_only_the_worlds_own_labs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The staying one and passing ones; not those of a world whose name begins like it."""
    monkeypatch.setattr(lab_folders, "LABS_FOLDER", tmp_path)
    mine, others = [named_folder("sea"), passing_folder("sea")], [named_folder("sea-2"), passing_folder("sea-2")]
    for folder in mine + others:
        folder.mkdir()
    assert folders_of("sea") == mine


@pytest.mark.parametrize("name", ["", ".", "..", "*", "a/b", "Sea", "sea\n", "sea.1"])
def test_no_other_folder_is_taken_for_a_lab(name: str) -> None:
    """What is found is removed, so a name must not lead elsewhere."""
    for find in (named_folder, passing_folder, folders_of):
        with pytest.raises(WorldInvalid, match="cannot name a world"):
            find(name)


def test_a_lab_is_found_by_its_name_only_while_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a process is no lab."""
    monkeypatch.setattr(lab_folders, "LABS_FOLDER", tmp_path)
    assert connect(named_folder("sea")) is None
    named_folder("sea").mkdir()
    assert Lab.attach("sea") is None
    assert not remove_lab(named_folder("sea"))
    assert folders_of("sea") == []
