import json
import os
from pathlib import Path

from gpunode.demo.children import Children
from gpunode.demo.network import read_when_ready
from gpunode_benchmarks.overhead_network import OverheadNetwork
from gpunode_benchmarks.overhead_paced import MODEL


def test_the_client_does_its_jobs_and_stays(overhead: OverheadNetwork, tmp_path: Path) -> None:
    """It says that it is done only after the jobs, and with the pid that is measured."""
    folder = overhead.folder / "memory"
    order = {"url": overhead.url, "api_key": overhead.api_key, "folder": str(folder), "model": MODEL, "jobs": 2}
    with Children(tmp_path) as children:
        child = children.start("client", [json.dumps(order)], module="gpunode_benchmarks.memory_client")
        assert read_when_ready(folder, children) == {"pid": child.process.pid}
        os.kill(child.process.pid, 0)  # raises if it has ended
