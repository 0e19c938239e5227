from pathlib import Path

import pytest
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.launch import Launch, become_command, run_call

from tests.benchmarks.lab.conftest import HOSTS


def test_what_a_host_starts_with(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's environment, a folder of the host's own, and nothing of the lab's that stays open."""
    monkeypatch.setenv("COLOUR", "green")
    seen = lab.call("london-1", f"{HOSTS}:surroundings")
    assert seen["environment"]["COLOUR"] == "green"
    assert seen["folder"] == str(lab.folder_of("london-1"))
    assert len(seen["descriptors"]) <= 5, "standard ones, the result, and the list of descriptors itself"


def test_preloaded_modules_are_there_before_the_call(lab: Lab) -> None:
    """That is why light hosts are light."""
    assert "gpunode_benchmarks.lab.probes" in lab.call("london-1", f"{HOSTS}:surroundings")["modules"]


def test_functions_and_coroutine_functions_are_called() -> None:
    """By keyword."""
    assert run_call(f"{HOSTS}:add", {"first": 1, "second": 2}) == 3
    assert run_call(f"{HOSTS}:double", {"number": 3}) == 6


def test_a_name_that_does_not_exist() -> None:
    """The error names it."""
    with pytest.raises(AttributeError, match="no_such_function"):
        run_call(f"{HOSTS}:no_such_function", {})


def test_a_command_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line names it; the exit code is a shell's."""
    order = Launch(
        namespace=-1, folder=tmp_path, environment={"PATH": str(tmp_path)}, standard=(), command=("ping",), arguments={}
    )
    assert become_command(order) == 127
    assert capsys.readouterr().err == "gpunode: ping cannot be started on the host: No such file or directory.\n"
