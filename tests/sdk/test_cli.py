"""The root command: failures, exit codes, and what it must not import."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import pytest
import typer
from gpunode import cli
from gpunode_protocol.errors import GpunodeError

#: Packages that cost seconds or hundreds of megabytes, or that an HTTP-only installation lacks.
HEAVY = ("hivemind", "torch", "aiohttp", "sqlalchemy", "xllamacpp")

Register = Callable[[typer.Typer], None]


@dataclass(frozen=True)
class _Entry:
    """Stands in for an installed entry point."""

    register: Register
    name: str = "component"
    module: str = "component.commands"

    def load(self) -> Register:
        return self.register


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """The command configures logging for the whole process: give it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Register], None]:
    """Return a function that makes the given component the only one installed."""

    def install_only(register: Register) -> None:
        entries = {cli.COMMANDS_GROUP: [_Entry(register)]}
        monkeypatch.setattr(cli, "entry_points", lambda group: entries[group])

    return install_only


@pytest.fixture
def run(install: Callable[[Register], None]) -> Callable[..., int]:
    """Return a function that runs ``gpunode work ARGUMENTS``, where work is the given function."""

    def run_work(work: Callable[[], object], *arguments: str, before: Sequence[str] = ()) -> int:
        def register(app: typer.Typer) -> None:
            app.command("work")(work)
            app.command("other")(lambda: None)  # with a single command, typer would drop its name

        install(register)
        return cli.main([*before, "work", *arguments])

    return run_work


def _refuse() -> NoReturn:
    raise GpunodeError("The tracker did not answer. Check its address.")


def _refuse_in_colour() -> NoReturn:
    raise GpunodeError("The tracker refused: \x1b[31mred\x07\nand more")


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _miss_hivemind() -> NoReturn:
    raise ModuleNotFoundError("No module named 'hivemind'", name="hivemind")


def _leave_with_three() -> NoReturn:
    raise typer.Exit(3)


def test_help_imports_nothing_heavy() -> None:
    """``gpunode --help`` works without importing hivemind, torch or aiohttp."""
    program = (
        "import sys; from gpunode.cli import main; code = main(['--help']);"
        f"sys.exit(f'imported: {{loaded}}' if (loaded := [m for m in {HEAVY} if m in sys.modules]) else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: gpunode" in done.stdout


def test_a_finished_command_returns_zero(run: Callable[..., int]) -> None:
    """A command that returns nothing succeeded."""
    assert run(lambda: None) == 0


def test_a_failure_is_one_line_without_traceback(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line on standard error, nothing on standard output."""
    assert run(_refuse) == 1
    assert capsys.readouterr() == ("", "gpunode: The tracker did not answer. Check its address.\n")


def test_a_failure_cannot_steer_the_terminal(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in it come from the other side."""
    assert run(_refuse_in_colour) == 1
    assert capsys.readouterr().err == "gpunode: The tracker refused: [31mred and more\n"


@pytest.mark.parametrize(("before", "after"), [(["--debug"], []), ([], ["--debug"])])
def test_debug_prints_the_traceback_at_either_end(
    before: list[str], after: list[str], run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """``--debug`` works before and after the subcommand, and the line stays last."""
    assert run(_refuse, *after, before=before) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("gpunode: The tracker did not answer.")


def test_a_missing_extra_says_what_to_install(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """A command whose optional package is absent names the extra."""
    assert run(_miss_hivemind) == 1
    assert "pip install 'gpunode[mesh]'" in capsys.readouterr().err


def test_an_unknown_option_is_misuse(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line that points to the command's help."""
    assert run(lambda: None, "--nonsense") == 2
    line = capsys.readouterr().err
    assert line.startswith("gpunode: No such option")
    assert line.endswith("Try 'gpunode work --help'.\n")
    assert line.count("\n") == 1


def test_interruption_is_130(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with the shell's code for SIGINT and prints no complaint."""
    assert run(_interrupt) == 130
    assert "gpunode:" not in capsys.readouterr().err


def test_a_command_can_choose_its_exit_code(run: Callable[..., int]) -> None:
    """``typer.Exit`` passes through."""
    assert run(_leave_with_three) == 3


def test_a_reader_that_leaves_is_no_bug() -> None:
    """``gpunode … | head`` ends with 1 and without a message when the pipe breaks."""
    program = "from gpunode import cli; import sys; sys.exit(cli.main(['--help']))"
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as output:  # noqa: PTH123 -- a descriptor, not a path
        done = subprocess.run([sys.executable, "-c", program], stdout=output, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Bare ``gpunode`` is misuse and answers with the list of commands."""
    assert cli.main([]) == 2
    assert "Usage: gpunode" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "expected"), [("start", logging.INFO), ("chat", logging.WARNING)])
def test_daemons_log_more_than_commands(command: str, expected: int, install: Callable[[Register], None]) -> None:
    """Without a level given, long-running commands log from info and the others from warning on."""

    def register(app: typer.Typer) -> None:
        for name in ("start", "chat"):
            app.command(name)(lambda: None)

    install(register)
    assert cli.main([command]) == 0
    assert logging.getLogger().level == expected


def test_the_environment_sets_the_level(run: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUNODE_LOG_LEVEL is read when no option is given."""
    monkeypatch.setenv("GPUNODE_LOG_LEVEL", "error")
    assert run(lambda: None) == 0
    assert logging.getLogger().level == logging.ERROR


def test_debug_after_two_dashes_is_data(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """What follows ``--`` is left to the subcommand."""
    assert run(lambda: None, "--", "--debug") == 2
    assert "--debug" in capsys.readouterr().err
