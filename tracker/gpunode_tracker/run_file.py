"""``run.json``: tells other programs on this machine that the tracker is ready, and where."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunInfo:
    """pid, URL of HTTP, peer id ("" without mesh), bootstrap multiaddrs and network id of a running tracker."""

    pid: int
    url: str
    peer_id: str
    bootstrap: tuple[str, ...]
    network: str


def write_run_file(data_dir: Path, info: RunInfo) -> None:
    """Write the file anew, whole or not at all."""
    path = data_dir / RUN_FILE
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(asdict(info), indent=1), encoding="utf-8")
    draft.replace(path)


def read_run_file(data_dir: Path) -> RunInfo | None:
    """Return what a running tracker wrote; None if there is no file, or its process has gone."""
    try:
        value = json.loads((data_dir / RUN_FILE).read_text(encoding="utf-8"))
        info = RunInfo(**{**value, "bootstrap": tuple(value["bootstrap"])})
        os.kill(info.pid, 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return info


def remove_run_file(data_dir: Path) -> None:
    """Remove the file at a clean exit."""
    (data_dir / RUN_FILE).unlink(missing_ok=True)
