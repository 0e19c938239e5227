"""The processes that are measured: the tracker as its command starts it, and the bare server beside it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpunode_benchmarks.errors import BenchmarkFailed

START_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.02
_STOP_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Running:
    """A process and where it listens."""

    pid: int
    port: int

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time so far, of all its threads, in user and kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def tracker_process(data_dir: Path, settings: Mapping[str, Any]) -> Iterator[Running]:
    """Run a tracker without mesh on a data folder.

    Args:
        settings: of ``[tracker]``, which come on top of the defaults.
    """
    command = [sys.executable, "-m", "gpunode", "--log-level", "warning", "tracker", "start", "--no-mesh"]
    command += ["--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    variables = {f"GPUNODE_TRACKER_{name.upper()}": value for name, value in settings.items() if value is not None}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    with _started(command, data_dir.parent / "tracker.log", texts) as process:
        run = json.loads(_when_there(data_dir / "run.json", process, data_dir.parent / "tracker.log"))
        yield Running(process.pid, int(run["url"].rpartition(":")[2]))


@contextmanager
def bare_process(folder: Path, bodies: Mapping[str, bytes]) -> Iterator[Running]:
    """Run a bare server that answers some paths with some bytes."""
    order = {}
    for number, (path, body) in enumerate(bodies.items()):
        (folder / f"body-{number}").write_bytes(body)
        order[path] = str(folder / f"body-{number}")
    (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
    command = [sys.executable, "-m", "gpunode_benchmarks.tracker.bare_server", str(folder / "order.json")]
    with _started(command, folder / "bare.log", {}) as process:
        yield Running(process.pid, int(_when_there(folder / "bare.port", process, folder / "bare.log")))


@contextmanager
def _started(command: list[str], log: Path, variables: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- this interpreter with arguments of our own
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | variables
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _when_there(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            text = log.read_text(encoding="utf-8", errors="replace").strip()
            raise BenchmarkFailed(f"A process was not ready in time, or ended: {text[-1_000:]}")
        time.sleep(_POLL_S)
    return path.read_text(encoding="utf-8")
