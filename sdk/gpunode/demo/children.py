"""The demo's processes: started with a log each, watched, ended with everything that they started."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gpunode.demo import _child_launcher
from gpunode.demo.strays import end_strays, family_of, kill_all
from gpunode.errors import ClientError

STOP_TIMEOUT_S: Final = 8.0
"""What all processes get to end by themselves."""
PATIENCE_S: Final = 2.0
"""What a process gets to drain before it is told to end at once."""
_POLL_INTERVAL_S: Final = 0.05
_TAIL_LINES: Final = 12


class DemoFailed(ClientError):
    """The demo's network did not come up."""


@dataclass(frozen=True)
class Child:
    """One process, what it was started with, and where its output goes."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    arguments: tuple[str, ...]
    module: str

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    def last_words(self) -> str:
        """Return the end of its log."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(lines[-_TAIL_LINES:])
        return ""


class Children:
    """All processes of a demo. Leaving the ``with`` block ends them, whatever happens.

    Args:
        folder: for the logs, and the working directory of the processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str], *, module: str = "gpunode") -> Child:
        """Start ``gpunode``, or another module, with some arguments in a process group of its own."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter, no shell
                _command(module, arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=_environment(self._folder),
                start_new_session=True,  # Ctrl-C at the terminal is for the demo, which ends them in order
            )
        child = Child(name, process, log, tuple(arguments), module)
        self._children.append(child)
        return child

    def run(self, name: str, arguments: Sequence[str], *, timeout_s: float = 30.0) -> str:
        """Run ``gpunode`` with some arguments to its end and return what it printed.

        Raises:
            DemoFailed: it failed.
        """
        child = self.start(name, arguments)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout_s)
        self._children.remove(child)
        if child.process.poll() != 0:
            _kill_group(child)
            raise _failed(child)
        return child.log.read_text(encoding="utf-8")

    def kill(self, child: Child) -> None:
        """Kill a process with all that it started, at once; ``check`` no longer looks at it."""
        family = family_of(child.process.pid)
        self._children.remove(child)
        _kill_group(child)
        kill_all(family)

    def start_again(self, child: Child) -> Child:
        """Start what has ended once more, with the same arguments."""
        return self.start(child.name, child.arguments, module=child.module)

    def named(self, name: str) -> Child:
        """Return the process of a name. Raises LookupError if there is none."""
        for child in self._children:
            if child.name == name:
                return child
        raise LookupError(f"No process of this demo is called {name}.")

    def check(self) -> None:
        """Raise ``DemoFailed`` if a process has ended."""
        for child in self._children:
            if child.has_ended:
                raise _failed(child)

    def stop(self) -> None:
        """End all processes: politely, the first one last, then by force. Signals to the demo wait until it is done."""
        with _signals_ignored():
            deadline = time.monotonic() + STOP_TIMEOUT_S
            for children in (self._children[1:], self._children[:1]):  # nodes say goodbye to the tracker
                _terminate(children, deadline)
            for child in self._children:
                _kill_group(child)
            self._children.clear()
            end_strays(self._folder)


def _terminate(children: Sequence[Child], deadline: float) -> None:
    """Ask processes to end and wait for them; after a while ask again, which means: at once."""
    for again_at in (time.monotonic() + PATIENCE_S, deadline):
        for child in children:
            if not child.has_ended:
                child.process.terminate()
        while time.monotonic() < again_at and not all(child.has_ended for child in children):
            time.sleep(_POLL_INTERVAL_S)


def _kill_group(child: Child) -> None:
    """Kill what is left of a child's process group, and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()


def _failed(child: Child) -> DemoFailed:
    code = child.process.returncode
    return DemoFailed(
        f"The demo's {child.name} ended early (exit code {code}). Its last words:\n{child.last_words()}\n"
        "Correct what they name and start the demo again."
    )


def _command(module: str, arguments: Sequence[str]) -> list[str]:
    launcher = (sys.executable, "-I", "-S", str(_child_launcher.__file__), str(os.getpid()))
    return [*launcher, sys.executable, "-m", module, *arguments]


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment without the user's settings of gpunode, whose files would take part otherwise.

    Nothing is written to the user's folders: what the nodes would keep there goes below ``folder``.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GPUNODE_")}
    own = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(folder), "GPUNODE_CACHE_DIR": str(folder / "cache")}
    return kept | own


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Let nobody interrupt the cleaning up: it is short, and a second signal would leave processes behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    except ValueError:  # not in the main thread, where no signal arrives anyway
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
