"""``gpunode bench memory``: resident memory of a tracker, a node and a client of the SDK that have done some jobs.

Real processes on loopback, as their commands start them: each with its p2pd, the node with an engine that has a model
loaded. p2pd and engine are shown apart, because the one is libp2p's, and the other mostly the model.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # -- ships no annotations
from gpunode.demo.children import Children, DemoFailed
from gpunode.demo.network import make_account, read_when_ready, start_tracker

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.resident_memory import Resident, resident_of
from gpunode_benchmarks.stats import latency_summary

MODEL: Final = "smollm2-135m"
JOBS: Final = 8
SAMPLES: Final = 8
SAMPLE_PAUSE_S: Final = 0.25

_CLIENT_MODULE: Final = "gpunode_benchmarks.memory_client"
_LISTEN: Final = "/ip4/127.0.0.1/tcp/0"
_PARTS: Final[Mapping[str, tuple[str, Callable[[Resident], float]]]] = {
    "": ("", lambda resident: resident.own),
    "_p2pd": ("'s p2pd", lambda resident: resident.p2pd),
    "_with_p2pd": (" with its p2pd", lambda resident: resident.own + resident.p2pd),
}


def run_memory_bench(samples: int = SAMPLES) -> BenchResult:
    """Start the processes, let them do some jobs, measure, end them.

    Args:
        samples: how often to measure, >= 1.

    Raises:
        BenchmarkFailed: a process ended early or was not ready in time.
    """
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name:  # short: below it are Unix sockets
        try:
            with Children(Path(name)) as children:
                pids = _start(Path(name), children)
                taken = list(_sample(pids, samples))
        except DemoFailed as error:
            raise BenchmarkFailed(str(error)) from error
        except psutil.NoSuchProcess as error:
            raise BenchmarkFailed("A process ended while it was measured. Run it again.") from error
    return BenchResult(
        bench="memory",
        about="resident memory after some jobs",
        settings={"model": MODEL, "jobs": JOBS, "samples": samples},
        measures=tuple(_measures(taken)),
        load_before=load_before,
        load_after=load_average(),
    )


def _start(folder: Path, children: Children) -> Mapping[str, int]:
    """Return the pids of tracker, node and client once the client's jobs are done."""
    tracker_dir, node_dir, client_dir = folder / "t", folder / "n", folder / "c"
    url = start_tracker(tracker_dir, children)
    options = {"--bootstrap": url, "--region": "europe", "--data-dir": str(node_dir), "--model": MODEL}
    options |= {"--threads": "1", "--listen": _LISTEN}
    children.start("node", ["start", *(part for option in options.items() for part in option)])
    _, api_key = make_account(children, tracker_dir)
    read_when_ready(node_dir, children)
    order = {"url": url, "api_key": api_key, "folder": str(client_dir), "model": MODEL, "jobs": JOBS}
    children.start("client", [json.dumps(order)], module=_CLIENT_MODULE)
    folders = {"tracker": tracker_dir, "node": node_dir, "client": client_dir}
    return {name: read_when_ready(path, children)["pid"] for name, path in folders.items()}


def _sample(pids: Mapping[str, int], samples: int) -> Iterator[Mapping[str, Resident]]:
    for number in range(samples):
        if number:
            time.sleep(SAMPLE_PAUSE_S)
        yield {name: resident_of(pid) for name, pid in pids.items()}


def _measures(taken: Sequence[Mapping[str, Resident]]) -> Iterator[Measure]:
    for process in taken[0]:
        for suffix, (about, part) in _PARTS.items():
            yield _measure(f"{process}{suffix}", f"{process}{about}", [part(sample[process]) for sample in taken])
    yield _measure("engine", "node's engine with its model", [sample["node"].engines for sample in taken])


def _measure(name: str, about: str, values: Sequence[float]) -> Measure:
    return Measure(name=name, about=about, unit="MiB", count=len(values), values=latency_summary(values))
