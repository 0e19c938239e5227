import json
import socket
import subprocess
import sys

_CHILD = """
import os
from gpunode_benchmarks.engines.bare.service import serve

def load(order):
    os.write(1, b"loading\\n")
    return order["factor"]

def run(factor, order):
    os.write(1, b"running\\n")
    return [factor * order["s"], os.getpid()]

serve(load, run)
"""


def test_each_socket_has_a_process_of_its_own() -> None:
    """An answer a line and nothing else: what the library prints goes elsewhere. A process ends with its socket."""
    pairs = [socket.socketpair() for _ in range(2)]
    descriptors = [their.fileno() for _, their in pairs]
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, '{"factor": 2}', *map(str, descriptors)],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=descriptors,
    )
    pids = set()
    for mine, their in pairs:
        their.close()
        with mine, mine.makefile("rw", buffering=1) as lines:
            assert json.loads(lines.readline()) == {"ready": True}
            for seconds in (1, 3):
                lines.write(json.dumps({"s": seconds}) + "\n")
                elapsed_s, pid = json.loads(lines.readline())["elapsed_s"]
                assert elapsed_s == 2 * seconds
                pids.add(pid)
    printed, _ = child.communicate(timeout=30)
    assert (child.returncode, len(pids), child.pid in pids) == (0, 2, True)
    assert sorted(printed.split()) == ["loading"] * 2 + ["running"] * 4
