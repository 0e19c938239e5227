import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gpunode_benchmarks.lab.host_processes import continue_all, kill_all, processes_in, stop_all
from gpunode_benchmarks.lab.kernel import network_of

from tests.benchmarks.lab.conftest import SMALL_WORLD, start_or_skip

_FIRST = "kernel.unshare(kernel.CLONE_NEWNET)"
_SECOND = "kernel.enter_namespace(os.open('/proc/{pid}/ns/net', os.O_RDONLY), kernel.CLONE_NEWNET)"


@dataclass(frozen=True)
class Pair:
    """Two processes alone in a namespace, and its number."""

    network: int
    pids: frozenset[int]


def _start(statement: str) -> "subprocess.Popen[bytes]":
    code = (
        f"import os, signal; from gpunode_benchmarks.lab import kernel; {statement}; print(flush=True); signal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two processes, where the machine allows namespaces."""
    start_or_skip("possible", SMALL_WORLD).end()
    first = _start(_FIRST)
    second = _start(_SECOND.format(pid=first.pid))
    network = network_of(first.pid)
    assert network is not None
    yield Pair(network, frozenset({first.pid, second.pid}))
    for process in (first, second):
        process.kill()
        process.communicate()


def _states(pair: Pair) -> set[str]:
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in pair.pids]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def test_a_hosts_processes_are_those_in_its_network(pair: Pair) -> None:
    """Whoever started them; this one is elsewhere."""
    assert processes_in(pair.network) == pair.pids


def test_stopped_processes_stand_still_until_they_are_continued(pair: Pair) -> None:
    """All of them; a second time nothing is left to do."""
    assert stop_all(pair.network) == 2
    assert _states(pair) == {"T"}
    assert stop_all(pair.network) == 2
    assert continue_all(pair.network) == 2
    assert "T" not in _states(pair)


def test_killing_waits_until_none_is_left(pair: Pair) -> None:
    """Stopped ones too."""
    stop_all(pair.network)
    assert kill_all(pair.network) == 2
    assert processes_in(pair.network) == set()
