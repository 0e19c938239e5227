import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpunode_benchmarks.lab import measure
from gpunode_benchmarks.lab.commands import lab_app
from gpunode_benchmarks.lab.errors import LabFailed, WorldInvalid
from gpunode_benchmarks.lab.lab_folders import connect, folders_of, named_folder, pid_of
from typer.testing import CliRunner

from tests.benchmarks.lab.conftest import SMALL_WORLD, start_or_skip

WORLD = """
about = "for tests of the commands"
[places]
rome = { region = "europe", country = "IT", latitude = 42, longitude = 12 }
lima = { region = "america", country = "PE", latitude = -12, longitude = -77 }
[hosts]
rome-1 = { place = "rome" }
lima-1 = { place = "lima" }
[rtt_ms]
rome = { lima = 180 }
"""

PATIENCE_S = 30.0

Run = Callable[..., Any]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    """A world file; its labs are down afterwards, whatever a test did."""
    path = tmp_path / "commanded.toml"
    path.write_text(WORLD, encoding="utf-8")
    yield path
    CliRunner().invoke(lab_app(), ["down", str(path)])
    assert folders_of("commanded") == []


@pytest.fixture
def rooted() -> None:
    """Skip where there can be no lab."""
    start_or_skip("possible", SMALL_WORLD).end()


@pytest.fixture
def run() -> Run:
    """Return a function that runs ``gpunode bench lab ARGUMENTS`` in this process."""
    return lambda *arguments: CliRunner().invoke(lab_app(), list(map(str, arguments)))


def _command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run ``gpunode bench lab ARGUMENTS`` in a process of its own, whose output a host's program can have."""
    code = "import sys; from gpunode_benchmarks.lab.commands import lab_app; lab_app()(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("rooted")
def test_a_lab_stays_up_between_commands(run: Run, world: Path) -> None:
    """Several commands meet in it, until it is taken down; a second one of the same world is refused."""
    shown = run("up", world)
    assert shown.exit_code == 0
    assert "11.2.1.1" in shown.stdout
    assert _command("run", world, "rome-1", "sh", "-c", "echo here > note").returncode == 0
    assert _command("run", world, "rome-1", "cat", "note").stdout == "here\n"
    assert isinstance(run("up", world).exception, LabFailed)
    assert "Labs of commanded ended: 1." in run("down", world).stdout
    assert "There is no lab commanded." in run("down", world).stdout


@pytest.mark.usefixtures("rooted")
def test_a_lab_that_was_killed_gives_way_to_the_next(run: Run, world: Path) -> None:
    """Kill -9 of the lab: nothing answers, and up starts another one in its place."""
    assert run("up", world).exit_code == 0
    connection = connect(named_folder("commanded"))
    assert connection is not None
    with connection:
        ended = os.pidfd_open(pid_of(connection))
    signal.pidfd_send_signal(ended, signal.SIGKILL)
    assert select.select([ended], [], [], PATIENCE_S)[0]
    os.close(ended)
    assert run("up", world).exit_code == 0
    assert "Labs of commanded ended: 1. Left-overs of killed ones removed: 0." in run("down", world).stdout


@pytest.mark.parametrize("name", ["..", ".", "*", "/"])
def test_down_refuses_what_is_no_world(run: Run, name: str) -> None:
    """Whatever it names stays where it is."""
    assert isinstance(run("down", name).exception, WorldInvalid)


@pytest.mark.usefixtures("rooted")
def test_without_a_lab_a_command_gets_one_for_itself(world: Path) -> None:
    """Its options are its own, its exit code is passed on, and nothing stays."""
    done = _command("run", world, "lima-1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert folders_of("commanded") == []


@pytest.mark.usefixtures("rooted")
def test_a_command_that_was_killed(world: Path) -> None:
    """The exit code is a shell's: 128 and the signal's number."""
    assert _command("run", world, "lima-1", "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.usefixtures("rooted")
def test_without_a_command_the_lab_is_measured(run: Run, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one JSON object for programs."""
    monkeypatch.setattr(measure, "SENDING_S", 1.0)
    result = run("run", world, "--json")
    assert result.exit_code == 0
    measures = json.loads(result.stdout)["benches"]["lab"]["measures"]
    assert measures["rtt_europe_america"]["count"] == 20


@pytest.mark.usefixtures("rooted")
def test_an_unknown_host_is_refused(run: Run, world: Path) -> None:
    """With the names of those that there are."""
    result = run("run", world, "oslo-1", "true")
    assert result.exit_code == 2
    assert "rome-1, lima-1" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [("rome-1",), ("--json", "rome-1", "true")], ids=str)
def test_half_an_order_is_refused(run: Run, world: Path, arguments: tuple[str, ...]) -> None:
    """A host without a command, and a command whose options could be ours."""
    assert run("run", world, *arguments).exit_code == 2


def test_a_wrong_world_is_told_before_anything_starts(run: Run, world: Path) -> None:
    """Also without root."""
    world.write_text(WORLD.replace("rome = { lima", "rome = { oslo"), encoding="utf-8")
    result = run("up", world)
    assert isinstance(result.exception, WorldInvalid)
    assert "'oslo', which is not among the places" in str(result.exception)
