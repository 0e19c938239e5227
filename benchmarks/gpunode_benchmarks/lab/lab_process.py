"""Starting the lab's process: what it is told, what it answers, and the lifeline with which it ends."""

import json
import os
import select
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gpunode_benchmarks.lab.errors import LabFailed, LabUnavailable
from gpunode_benchmarks.lab.messages import Message, close_all
from gpunode_benchmarks.lab.tun import TUN_PATH

_START_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LabOrder:
    """What the lab's process is told.

    folder: of the lab. preload: modules that calls need, imported once. stays: after standard input is closed.
    real_time: whether packets come before all other work of the machine.
    """

    folder: str
    preload: tuple[str, ...] = ()
    stays: bool = False
    real_time: bool = True

    def to_json(self) -> str:
        """Return it as the program's argument."""
        return json.dumps(asdict(self))


def require_root() -> None:
    """Raise ``LabUnavailable`` where the lab cannot run, as far as it can be told without trying."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise LabUnavailable("The network lab needs root on Linux: its hosts are network namespaces. Run it as root.")
    if not TUN_PATH.exists():
        raise LabUnavailable(f"The network lab needs TUN devices, and there is no {TUN_PATH}. Load the module tun.")


def start_lab_process(order: LabOrder, log: Path) -> int:
    """Start the lab's process, wait until it is ready, and return the descriptor of its lifeline.

    Raises:
        LabUnavailable: the kernel allows no namespaces or devices.
        LabFailed: something else was wrong; the message has the end of the log.
    """
    lifeline_end, lifeline = os.pipe()
    said, says = os.pipe()
    try:
        with log.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter, no shell
                [sys.executable, "-m", "gpunode_benchmarks.lab.main", order.to_json()],
                stdin=lifeline_end,
                stdout=says,
                stderr=errors,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # it finds what we find
                start_new_session=True,  # Ctrl-C at the terminal is for the program that uses the lab
            )
        process.wait()  # it forks the lab and ends
        _check_ready(said, log)
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        close_all([lifeline_end, said, says])
    return lifeline


def _check_ready(descriptor: int, log: Path) -> None:
    ready = select.select([descriptor], [], [], _START_TIMEOUT_S)[0]
    line = os.read(descriptor, 65_536) if ready else b""
    said: Message = json.loads(line) if line else {"failed": "it said nothing in time"}
    if "unavailable" in said:
        raise LabUnavailable(f"The network lab cannot make its hosts here: {said['unavailable']}. It needs full root.")
    if "failed" in said:
        last_words = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise LabFailed(f"The lab did not start: {said['failed']}\n{last_words}")
