import os
import subprocess
import sys

import pytest
from gpunode_benchmarks.lab.kernel import CLONE_NEWNET, enter_namespace, network_of, unshare

from tests.benchmarks.lab.conftest import SMALL_WORLD, start_or_skip


def test_a_process_in_a_namespace_of_its_own() -> None:
    """In a child, because a process cannot go back; it starts with no network but its loopback."""
    start_or_skip("possible", SMALL_WORLD).end()
    code = (
        "import socket; from gpunode_benchmarks.lab.kernel import CLONE_NEWNET, network_of, unshare\n"
        "before = network_of('self'); unshare(CLONE_NEWNET)\n"
        "print(before != network_of('self'), [name for _, name in socket.if_nameindex()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 1)[0] == "True"
    assert "eth0" not in done.stdout


def test_errors_are_the_kernels() -> None:
    """With the call and the reason."""
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="setns: "):
        enter_namespace(reader, CLONE_NEWNET)
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="unshare: Invalid argument"):
        unshare(1)


def test_the_network_of_a_process() -> None:
    """The same for this process under each of its names; none for a process that does not exist."""
    assert network_of(os.getpid()) == network_of("self") is not None
    assert network_of(2**22 + 1) is None
