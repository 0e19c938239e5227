import os

import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.http_line import Address
from gpunode_benchmarks.tracker.server_process import ServerProcess

HERE = Address("127.0.0.1", 1)


def test_processor_time_only_grows() -> None:
    """That of all the process's life."""
    server = ServerProcess.of_run_file({"url": "http://127.0.0.1:1", "pid": os.getpid()})
    assert server.address == HERE
    assert 0 < server.cpu_s() <= server.cpu_s()


def test_a_process_that_has_ended() -> None:
    """It has no figure."""
    with pytest.raises(BenchmarkFailed):
        ServerProcess(HERE, 2**22 + 1).cpu_s()
