"""Real processes of a network on loopback: a tracker, nodes and commands, each with a folder and a log of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from gpunode.demo import _child_launcher

#: a daemon dies with these tests, also when they are killed
LAUNCHER = (sys.executable, "-I", "-S", str(_child_launcher.__file__), str(os.getpid()))
START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 40.0
_POLL_S = 0.05
_NEVER = threading.Event()


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = 30.0) -> Any:
    """Return the condition's first true value; fail the test with ``what`` if it never comes."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_s:g} s")
        _NEVER.wait(_POLL_S)
    return value


def wait_gone(processes: list[psutil.Process]) -> None:
    """Wait until none of the processes runs any more."""
    wait_until(lambda: not any(process.is_running() for process in processes), f"the end of {processes}")


def clean_environment(home: Path) -> dict[str, str]:
    """Return this process's environment without gpunode's variables and with the user's folders below ``home``."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GPUNODE_")}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        variables[name] = str(home / name.lower())
    variables.pop("XDG_RUNTIME_DIR", None)
    return variables


@dataclass
class Daemon:
    """One ``gpunode`` daemon that writes ``run.json`` into its data folder when it is ready.

    variables: more environment.
    """

    arguments: list[str]
    data_dir: Path
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Start the process."""
        self.start()

    def start(self) -> None:
        """Start (again) with the same arguments and folder; does not wait."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._run_file.unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*LAUNCHER, sys.executable, "-m", "gpunode", *self.arguments, "--data-dir", str(self.data_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(self.data_dir) | self.variables,
                cwd=self.data_dir,
            )

    @property
    def _run_file(self) -> Path:
        return self.data_dir / "run.json"

    @property
    def log_path(self) -> Path:
        """What the daemon printed, all starts one after the other."""
        return self.data_dir.with_suffix(".log")

    def log(self) -> str:
        """Return what the daemon printed."""
        return self.log_path.read_text(errors="replace")

    def wait_ready(self) -> dict[str, Any]:
        """Wait for ``run.json`` and return it."""

        def ready() -> bool:
            assert self.process.poll() is None, f"{self.arguments} ended: {self.log()[-3000:]}"
            return self._run_file.exists()

        wait_until(ready, f"{self.arguments} is ready; its log: {self.log()[-1000:]}", START_DEADLINE_S)
        return self.run

    @property
    def run(self) -> dict[str, Any]:
        """The contents of ``run.json``."""
        return json.loads(self._run_file.read_text())

    def family(self) -> list[psutil.Process]:
        """Return the daemon's children and their children."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """End the daemon with SIGKILL and wait until it is gone."""
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)

    def kill_all(self) -> None:
        """End the daemon and everything that it started with SIGKILL, and wait until all are gone."""
        family = self.family()
        self.process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait(STOP_DEADLINE_S)
        wait_gone(family)

    def terminate(self) -> int:
        """Ask the daemon to stop; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_DEADLINE_S)

    def stop(self) -> None:
        """End the daemon however it stands."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()


def run_gpunode(
    *arguments: str, home: Path, timeout_s: float = 120.0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one ``gpunode`` command to its end; ``variables``: more environment."""
    return subprocess.run(
        [sys.executable, "-m", "gpunode", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
        env=clean_environment(home) | variables,
        cwd=home,
    )


def json_of(result: subprocess.CompletedProcess[str]) -> Any:
    """Return the one JSON object that a command printed."""
    assert result.returncode == 0, f"{result.args} failed: {result.stderr}"
    return json.loads(result.stdout)
