"""What a sandbox comes to on this machine: tried out in a process that then ends. Also that process's main module."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from gpunode_protocol.tasks import Task

from gpunode_engines.child_link import CAN_INHERIT
from gpunode_engines.child_process import child_environment
from gpunode_engines.confinement import NOTHING, Confinement
from gpunode_engines.ipc import BackendOptions, Load
from gpunode_engines.memory_cgroup import CGROUPS, OWN_CGROUP, MemoryCgroup
from gpunode_engines.parent_line import ParentLine
from gpunode_engines.sandbox import Sandbox, restrict_at_start

_DEADLINE_S = 20.0
_PROBE_BYTES = 256 * 1024**2
"""More than an interpreter takes that does nothing."""

_NO_MODEL = Load(
    task=Task.LLM,
    backend="",
    model="",
    root="/nonexistent",
    files=(),
    options=BackendOptions(context_tokens=1, slots=1, threads=1, use_gpu=False),
)


def probe_sandbox() -> Confinement:
    """Return what takes effect on an engine here; nothing if even the attempt fails."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-P", "-m", __name__, str(os.getpid())]
        environment = child_environment(os.environ, Path(scratch))
        try:
            done = subprocess.run(  # noqa: S603 -- this interpreter with a module of ours
                command, cwd=scratch, env=environment, capture_output=True, timeout=_DEADLINE_S, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return NOTHING
    return Confinement(**json.loads(done.stdout))


def probe_memory_cgroup(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> bool:
    """Whether a process started from here can get a cgroup with a memory limit; tried out with one that waits.

    The group is removed again; its parent keeps the memory controller enabled, as after an engine.

    Args:
        root, own: see ``MemoryCgroup.create``.
    """
    group = MemoryCgroup.create(f"gpunode-probe-{os.getpid()}", _PROBE_BYTES, root=root, own=own)
    if group is None:
        return False
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        return group.add(waiting.pid)
    finally:
        waiting.communicate()
        group.remove()


def main(arguments: list[str]) -> None:
    """Confine this process as an engine's and print what came of it."""
    restrict_at_start(int(arguments[0]))
    ours, parents = socket.socketpair()
    with ours, parents:
        sandbox = Sandbox(_NO_MODEL, ParentLine(ours) if CAN_INHERIT else None)
        sandbox.restrict_before_load()
        json.dump(asdict(sandbox.restrict_after_load()), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
